"""Keeping a files region below a size: the least recently used entries go first.

The bytes in use are counted in a file that all processes share, so a write that stays below the
limit looks at nothing else. One that goes over it looks into some of the 256 folders of entries,
chosen at random, until there is room: what has expired goes, and of the rest the least recently
used tenth. So its cost does not grow with the number of entries that stay, and what goes is nearly
the oldest of all, as with the samples of Redis ("Key eviction", redis.io).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import random
import time
from typing import TYPE_CHECKING

from regions.backends import upkeep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from regions.backends.files import FileStore

logger = logging.getLogger("regions")

ROOM = 0.95
"""Share of the limit that is in use after entries had to go."""
SAMPLE = 100
"""Entries among which the least recently used are chosen."""
TENTH = 10
USED_AGAIN = 60.0
"""Seconds within which a second use of an entry is not noted."""


class SizeLimit:
    """The limit of one store, in bytes."""

    def __init__(self, store: FileStore, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._counter = store.folder / "usage"

    def used(self, descriptor: int, last_use: float) -> None:
        """Note that an entry is used whose record is open; ``last_use`` is its modification
        time."""
        if time.time() - last_use > USED_AGAIN:
            # Where nothing can be written, the entry can be used all the same.
            with contextlib.suppress(OSError):
                os.utime(descriptor)

    def grew(self, size: int) -> None:
        """Count ``size`` more bytes, fewer if negative, and make room if it is time to. What goes
        wrong is logged: the entry is stored."""
        try:
            if self._count(size) > self._limit:
                self._make_room()
        except OSError as error:
            logger.warning("%s cannot be kept below its size: %s", self._store.folder, error)

    def recount(self) -> int:
        """Look at all files; return the bytes in use. Raises OSError."""
        with self._counted() as descriptor:
            return _write(descriptor, upkeep.usage(self._store).size)

    def _count(self, size: int) -> int:
        if not self._counter.exists():
            return self.recount()
        with self._counted() as descriptor:
            counted = int.from_bytes(os.pread(descriptor, 8, 0), "little", signed=True)
            return _write(descriptor, counted + size)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[int]:
        """Yield the open counter, which is nobody else's meanwhile."""
        descriptor = os.open(self._counter, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _make_room(self) -> None:
        sample: list[upkeep.Stored] = []
        folders = upkeep.shards(self._store)
        random.shuffle(folders)
        for folder in folders:
            expired, valid = _by_expiry(upkeep.stored_in(self._store, folder))
            sample += valid
            if self._remove(expired):
                return
            if len(sample) >= SAMPLE and self._remove(_least_recently_used(sample)):
                return
        while sample and not self._remove(_least_recently_used(sample)):
            pass

    def _remove(self, entries: list[upkeep.Stored]) -> bool:
        """Remove entries; whether there is room now."""
        freed = sum(upkeep.remove(self._store, found) for found in entries)
        return self._count(-freed) <= self._limit * ROOM


def _by_expiry(
    entries: Iterable[upkeep.Stored],
) -> tuple[list[upkeep.Stored], list[upkeep.Stored]]:
    """Part entries that have expired, or are no records of ours, from those that are valid."""
    now = time.time()
    expired: list[upkeep.Stored] = []
    valid: list[upkeep.Stored] = []
    for found in entries:
        record = found.record
        is_over = record is None or now >= record.stored_at + record.expire
        (expired if is_over else valid).append(found)
    return expired, valid


def _least_recently_used(sample: list[upkeep.Stored]) -> list[upkeep.Stored]:
    """Take a tenth out of a sample."""
    sample.sort(key=lambda found: found.last_use, reverse=True)
    tenth = -(-len(sample) // TENTH)
    return [sample.pop() for _ in range(tenth)]


def _write(descriptor: int, size: int) -> int:
    os.pwrite(descriptor, size.to_bytes(8, "little", signed=True), 0)
    return size
