"""Messages about what was done, with a way back or a way on."""

import json

from django.contrib import messages
from django.http import HttpRequest
from django.utils.text import Truncator


def say(
    request: HttpRequest,
    text: str,
    *,
    undo: str = "",
    fields: dict[str, str] | None = None,
    show: str = "",
) -> None:
    """Say that something was done. ``undo`` is the address to which these ``fields`` are posted to
    undo it; ``show`` is the address of a page that shows it. To undo what itself was an undo is to
    redo."""
    ways: dict[str, object] = {"show": show} if show else {}
    if undo:
        way = "redo" if request.POST.get("way") == "undo" else "undo"
        ways |= {"undo": undo, "fields": fields or {}, "way": way}
    messages.success(request, text, extra_tags=json.dumps(ways) if ways else "")


def quoted(name: str) -> str:
    return f"“{Truncator(name).chars(40)}”"


def number_of(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
