"""Checks that the content of every imported file is stored, and is what was imported."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from beakercache import cache
from tasks.files.content import is_intact, old_copy_of, read_file
from tasks.importing.index import BATCH, patiently, version_of
from tasks.models import ImportedFile

if TYPE_CHECKING:
    from collections.abc import Iterator

State = Literal["whole", "expired", "damaged", "missing", "other"]
"""``whole``: its digest was checked. ``expired``: whole, and its source is asked when it is wanted
next. ``damaged``: its record or its file is not what was stored. ``missing``: it is not stored.
``other``: what is stored is not what the index describes."""
REASONS: dict[State, str] = {
    "damaged": "is damaged, and was removed",
    "missing": "is not stored",
    "other": "is stored with other content than when it was imported, which was removed",
}


class Verified(NamedTuple):
    """An imported file and the state of its content."""

    path: str
    """On the site."""
    source: str
    size: int
    """Bytes."""
    state: State


def verify() -> Iterator[Verified]:
    """Yield every file of the index, in the order in which they were first imported. Content that
    is not what was imported is removed, so that the next import, or the next visitor, reads it
    again. Raises DatabaseError, InterfaceError."""
    last = 0
    while True:
        following = ImportedFile.objects.filter(pk__gt=last).order_by("pk")[:BATCH]
        rows = patiently(partial(list[ImportedFile], following))
        if not rows:
            return
        for row in rows:
            state = _state(row)
            if state in ("damaged", "other"):
                read_file.discard(*version_of(row))
            yield Verified(row.path, row.source, row.size, state)
        last = rows[-1].pk


def _state(row: ImportedFile) -> State:
    version = version_of(row)
    content = read_file.peek_stale(*version)
    if content is None:
        # A record that is there and cannot be used, or one that is not.
        found = cache["files"].store.read_uncached(read_file.entry(*version))
        return "damaged" if found.refused or found.is_current else "missing"
    with closing(content):
        if content.digest != row.digest:
            return "other"
        if not is_intact(content):
            return "damaged"
        return "whole" if old_copy_of(content) is None else "expired"
