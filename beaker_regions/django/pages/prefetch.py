"""A page is fetched together with the session that decides which page it is.

If a page's ``vary_by`` reads the session, session and page are two round trips. So the process
remembers which entries a session was last shown at an address, and fetches them together with the
session. A wrong guess costs its bytes. A right one is checked like any other lookup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from beaker_regions.api.function import CachedFunction
from beaker_regions.engine import invalidation
from beaker_regions.engine.region import Region
from beaker_regions.entries.entry import Entry, Lookup
from beaker_regions.runtime.recent import Recent

T = TypeVar("T")

MOST_BYTES = 4 << 20
"""The memory of a process that remembered addresses may take, about."""
_OVERHEAD, _OF_ENTRY, _OF_SCOPE = 500, 300, 100
"""Bytes that an address takes besides its text, and each of its entries and their scopes."""

Address = tuple[str, str]
"""A session's key, and the address of a page."""

_shown: Recent[Address, Sequence[Entry]] = Recent(MOST_BYTES)
"""The entries that a session was last shown at an address."""


class Prefetch:
    """The lookups that one request makes before it knows which of them it needs. ``address``: None
    for a request without a session."""

    def __init__(self, region: Region, address: Address | None = None) -> None:
        self._region = region
        self._address = address
        self._lookups: dict[Entry, Lookup | None] = {}
        self._latest: object = None
        self._requested: list[Entry] = []

    def call(self, function: CachedFunction[..., T], *args: Any) -> T:
        """Call a function; the entries that were last shown come in the same round trip."""
        entries = _shown.get(self._address) if self._address is not None else None
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
        if self._address is None or _shown.get(self._address) == self._requested:
            return
        size = _OVERHEAD + sum(map(len, self._address))
        size += sum([_OF_ENTRY + _OF_SCOPE * len(entry.scopes) for entry in self._requested])
        _shown.put(self._address, self._requested, size)
