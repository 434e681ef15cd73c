"""The room of the files region: a run never evicts its own files, and ends where there is none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from beakercache import cache
from tasks.importing.texts import human

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY = 0.2
"""Seconds between two looks at the bytes in use."""
_MEND = "set REGIONS_FILES_SIZE_LIMIT to more, or import less (--include, --exclude)"


class _SizeLimit(Protocol):
    """What this module uses of the limit of a region of files."""

    bytes: int
    evictions: int

    def in_use(self) -> int | None: ...
    def keep_since(self, moment: float | None) -> None: ...


class RegionFullError(Exception):
    """The files region cannot store content. The run ends."""


class Room:
    """The room of the files region during one run."""

    def __init__(self, count: Callable[[], None]) -> None:
        """``count`` counts the bytes that this run has stored up to now."""
        self._count = count
        self._limit: _SizeLimit | None = getattr(cache["files"].store, "size_limit", None)
        self._before = 0
        self._checked = 0.0

    @property
    def evicted(self) -> int:
        """Entries that were removed in this run and had not expired."""
        return 0 if self._limit is None else self._limit.evictions - self._before

    def begin(self) -> None:
        """Evict nothing from now on that this run stores or finds stored."""
        if self._limit is not None:
            self._before = self._limit.evictions
            self._limit.keep_since(time.time())

    def end(self) -> None:
        """Allow every eviction again."""
        if self._limit is not None:
            self._limit.keep_since(None)

    def require(self, size: int) -> None:
        """Raise RegionFullError if files of ``size`` bytes can never be stored all."""
        if self._limit is not None and size > self._limit.bytes:
            raise RegionFullError(
                f"the files have {human(size)}, and its size_limit is "
                f"{human(self._limit.bytes)}; {_MEND}"
            )

    def check(self, *, now: bool = False) -> None:
        """Raise RegionFullError if the region is above its limit, and only files could be evicted
        that this run has stored, or that were used lately. It looks at intervals, and ``now`` in
        any case."""
        if self._limit is None or (not now and time.monotonic() - self._checked < EVERY):
            return
        self._checked = time.monotonic()
        self._count()
        if (self._limit.in_use() or 0) > self._limit.bytes:
            raise RegionFullError(
                "the files of this run, and those used since the minute before it, reach its "
                f"size_limit, {human(self._limit.bytes)}; {_MEND}"
            )
