"""How often a file was downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beakercache import cache

if TYPE_CHECKING:
    from beaker_regions import Counter


def downloads_of(path: str) -> Counter:
    """Return the counter of the file at ``path``: one for all processes of this host. It outlives
    restarts, as it is in the region of the files, and stays when the file is imported again."""
    return cache.counter("files", "downloads", path)
