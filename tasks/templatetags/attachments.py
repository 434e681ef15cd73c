"""What a page of a task shows of its files."""

from typing import Any

from django import template

from tasks.files import attachments
from tasks.files.attachments import AttachedFile
from tasks.lists import ownership

register = template.Library()


@register.simple_tag(takes_context=True)
def attached_files(context: dict[str, Any], task_id: int) -> tuple[AttachedFile, ...]:
    """Return the files of a task of the list that belongs to the page's request."""
    list_id = ownership.list_id(context["request"])
    return () if list_id is None else attachments.files_of(list_id, task_id)
