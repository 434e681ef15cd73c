"""Sizes and paths as text for the operator."""

from __future__ import annotations

import re

from django.template.defaultfilters import filesizeformat


def human(size: float) -> str:
    """Return a number of bytes as text for people."""
    return filesizeformat(size).replace("\xa0", " ")


def counted(number: int, name: str) -> str:
    """Return a number of things with their name, whose plural ends in "s"."""
    return f"{number} {name}{'' if number == 1 else 's'}"


def size_in(text: str) -> int | None:
    """Return the bytes that a text such as ``500K``, ``1.5M`` or ``2048`` means, with powers of
    1024; None if it means none."""
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ")) if match else None


def printable(path: str) -> str:
    """Return a path as one line, without characters that a terminal acts on."""
    if path.isprintable():
        return path
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in path
    )
