"""A page that is kept, fetched together with the session that tells which page it is.

A page that is kept by something of the session would need two round trips. What a session was
shown at an address is remembered by the process, and the next time looked up with the session
itself. A guess that was wrong costs its bytes, and a right one is checked as any other reading.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from beaker_regions.engine import invalidation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beaker_regions.api.function import CachedFunction
    from beaker_regions.engine.region import Region
    from beaker_regions.entries.entry import Entry, Lookup

T = TypeVar("T")

REMEMBERED = 4096
"""Pairs of a session and an address, those that were asked for last."""


class LastShown:
    """The entries that a session was shown at an address."""

    entries: tuple[Entry, ...] = ()


def remembering() -> Callable[[str, str], LastShown]:
    """Return a function from a session's key and an address to what was shown."""
    return functools.lru_cache(REMEMBERED)(lambda _session, _address: LastShown())


class Prefetch:
    """What one request looks up before it knows whether it wants it."""

    def __init__(self, region: Region, shown: LastShown) -> None:
        self._region = region
        self._shown = shown
        self._readings: dict[Entry, Lookup | None] = {}
        self._latest: object = None
        self._asked: list[Entry] = []
        self.is_looking = False

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Let a session that is loaded in this block take along what is expected after it."""
        token = _ahead.set(self)
        self.is_looking = True
        try:
            yield
        finally:
            # Not what outlives the block either.
            self.is_looking = False
            _ahead.reset(token)

    def call(self, function: CachedFunction[..., T], *args: Any) -> T:
        entries = self._shown.entries
        if not entries or function.region is not self._region:
            return function(*args)
        self._latest = invalidation.latest
        value, readings = function.beside(entries, *args)
        self._readings = dict(zip(entries, readings, strict=False))
        return value

    def reading(self, entry: Entry) -> Lookup | None:
        """Return what was seen of an entry, unless this process has invalidated anything since."""
        self._asked.append(entry)
        seen = self._readings.get(entry)
        return seen if invalidation.latest is self._latest else None

    def remember(self) -> None:
        """Let the next request expect what this one asked for."""
        self._shown.entries = tuple(self._asked)


_ahead: ContextVar[Prefetch | None] = ContextVar("_ahead", default=None)


def call(function: CachedFunction[..., T], *args: Any) -> T:
    """Return a function's value; what is expected to be looked at after it comes along."""
    ahead = _ahead.get()
    if ahead is None or not ahead.is_looking:
        return function(*args)
    return ahead.call(function, *args)
