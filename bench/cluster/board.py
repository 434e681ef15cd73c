"""What all processes of the cluster count, in one piece of shared memory, and how new each row is.

The hosts are on one machine, so that "before" has one meaning: CLOCK_MONOTONIC is the same in
every network namespace.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Final

KEYS = 48
"""Rows of the database."""
FILES = 8
"""Files of the origin; on the board they come after the rows."""
REMEMBERED = 256
"""The last versions of a row whose time of announcement is known."""
COUNTS: Final = (
    *("reads", "writes", "stale", "errors", "loads", "worst", "oldest"),
    *("files", "files failed", "fetched", "worst file", "oldest file"),
    "ready",
)
"""What a worker counts. ``worst`` (latency of a call) and ``oldest`` (for how long a stale value
had been out of date) are the greatest, in nanoseconds."""
WORKERS = 64

_SLOT = 1 + REMEMBERED
_COUNTS_AT = 1 + (KEYS + FILES) * _SLOT
_SIZE = 8 * (_COUNTS_AT + WORKERS * len(COUNTS))


class Board:
    """Whole numbers of eight bytes, each written by one process at a time."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._numbers = memoryview(mmap.mmap(file.fileno(), _SIZE)).cast("q")

    # -- the rows --------------------------------------------------------------------------

    def announced(self, key: int) -> int:
        """Return the version that no read which begins now may be older than."""
        return self._numbers[1 + key * _SLOT]

    def announce(self, key: int, version: int, now: int) -> None:
        """Say that a change is committed and invalidated. One process writes each row."""
        at = 1 + key * _SLOT
        for each in range(max(self._numbers[at], version - REMEMBERED) + 1, version + 1):
            self._numbers[at + 1 + each % REMEMBERED] = now
        self._numbers[at] = version

    def age(self, key: int, version: int, now: int) -> int:
        """Return for how long a version had been replaced, nanoseconds."""
        return now - self._numbers[1 + key * _SLOT + 1 + (version + 1) % REMEMBERED]

    # -- the counts ------------------------------------------------------------------------

    def add(self, worker: int, what: str, amount: int = 1) -> None:
        self._numbers[self._at(worker, what)] += amount

    def greatest(self, worker: int, what: str, amount: int) -> None:
        at = self._at(worker, what)
        if amount > self._numbers[at]:
            self._numbers[at] = amount

    def of_all(self, what: str) -> list[int]:
        """Return every worker's count."""
        return [self._numbers[self._at(worker, what)] for worker in range(WORKERS)]

    def reset(self) -> None:
        """Set the counts to zero. The versions of the rows, and the ready processes, stay."""
        for what in set(COUNTS) - {"ready"}:
            for worker in range(WORKERS):
                self._numbers[self._at(worker, what)] = 0

    def set_ready(self, worker: int, ready: bool) -> None:
        self._numbers[self._at(worker, "ready")] = ready

    def is_ready(self, worker: int) -> bool:
        return bool(self._numbers[self._at(worker, "ready")])

    def _at(self, worker: int, what: str) -> int:
        return _COUNTS_AT + worker * len(COUNTS) + COUNTS.index(what)
