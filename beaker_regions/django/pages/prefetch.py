"""A page is fetched together with the session that decides which page it is.

If a page's ``vary_by`` reads the session, session and page are two round trips. So the process
remembers which entries a session was last shown at an address, and fetches them together with the
session. A wrong guess costs its bytes. A right one is checked like any other lookup.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from beaker_regions.api.function import CachedFunction
from beaker_regions.engine import invalidation
from beaker_regions.engine.region import Region
from beaker_regions.entries.entry import Entry, Lookup

T = TypeVar("T")

REMEMBERED = 4096
"""Pairs of a session and an address; the least recently used ones are dropped."""


class LastShown:
    """The entries that a session was last shown at an address."""

    entries: tuple[Entry, ...] = ()


def remember_shown() -> Callable[[str, str], LastShown]:
    """Return a function from a session's key and an address to what was last shown."""
    return functools.lru_cache(REMEMBERED)(lambda _session, _address: LastShown())


class Prefetch:
    """The lookups that one request makes before it knows which of them it needs."""

    def __init__(self, region: Region, shown: LastShown) -> None:
        self._region = region
        self._shown = shown
        self._lookups: dict[Entry, Lookup | None] = {}
        self._latest: object = None
        self._requested: list[Entry] = []

    def call(self, function: CachedFunction[..., T], *args: Any) -> T:
        """Call a function; the entries that were last shown come in the same round trip."""
        entries = self._shown.entries
        if not entries or function.region is not self._region:
            return function(*args)
        self._latest = invalidation.latest
        value, lookups = function.beside(entries, *args)
        self._lookups = dict(zip(entries, lookups, strict=False))
        return value

    def lookup(self, entry: Entry) -> Lookup | None:
        """Return the lookup of an entry; None if there is none, or if this process has
        invalidated anything since."""
        self._requested.append(entry)
        found = self._lookups.get(entry)
        return found if invalidation.latest is self._latest else None

    def remember(self) -> None:
        """Remember the entries of this request for the session's next one."""
        self._shown.entries = tuple(self._requested)
