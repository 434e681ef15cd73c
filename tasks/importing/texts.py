"""Sizes and paths as text for the operator."""

from __future__ import annotations

from django.template.defaultfilters import filesizeformat


def human(size: float) -> str:
    """Return a number of bytes as text for people."""
    return filesizeformat(size).replace("\xa0", " ")


def printable(path: str) -> str:
    """Return a path as one line, without characters that a terminal acts on."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in path
    )
