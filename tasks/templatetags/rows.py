"""What the list shows: rows with their versions, links in names, ways on in messages."""

import json
import re
from collections.abc import Iterator
from hashlib import blake2s
from typing import Any

from django import template
from django.contrib.messages.storage.base import Message
from django.utils.safestring import SafeString, mark_safe

from tasks.lists.queries import TaskRow

register = template.Library()

_LINK = re.compile(r"https?://[^\s<>\"“”]+", re.IGNORECASE)
_AFTER = ".,;:!?\"'…"
"""Punctuation that ends a sentence, and no address."""


@register.simple_tag(takes_context=True)
def task_row(context: Any, task: TaskRow) -> SafeString:
    """Render a row. ``data-v`` in it names its content: a browser that has the same is sent the
    empty row (`tasks.views.parts`)."""
    row = context.template.engine.get_template("tasks/row.html")
    with context.push(task=task):
        text: str = row.render(context)
    version = blake2s(text.encode(), digest_size=4).hexdigest()
    return mark_safe(text.replace(" class=", f' data-v="{version}" class=', 1))  # noqa: S308 - a template's


@register.filter
def parts(name: str) -> list[tuple[str, str]]:
    """Return the parts of a name, each with the address that it links to, or with ""."""
    return [part for part in _parts(name) if part[0]]


def _parts(name: str) -> Iterator[tuple[str, str]]:
    position = 0
    for match in _LINK.finditer(name):
        address = match[0].rstrip(_AFTER)
        if address.endswith(")") and "(" not in address:
            address = address[:-1]
        yield name[position : match.start()], ""
        yield address, address
        position = match.start() + len(address)
    yield name[position:], ""


@register.filter
def ways_on(message: Message) -> dict[str, Any]:
    """Return what a message offers (`tasks.views.messages`)."""
    found = re.search(r"\{.*\}", message.extra_tags or "")
    return json.loads(found[0]) if found else {}
