"""The number of downloads of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beakercache import cache

if TYPE_CHECKING:
    from beaker_regions import Counter


def downloads_of(path: str) -> Counter:
    """Return the counter of the file at ``path``, one for all processes of this host. It is in the
    files region, so it survives a restart. Importing the file again does not reset it."""
    return cache.counter("files", "downloads", path)
