"""The hidden field that says for whom a form was made."""

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from tasks.views.viewers import FIELD, name_of

register = template.Library()


@register.simple_tag(takes_context=True)
def viewer_field(context: dict[str, Any]) -> SafeString:
    return format_html(
        '<input type="hidden" name="{}" value="{}">', FIELD, name_of(context["request"])
    )
