"""Keeping a files region below a size: the least recently used entries go first.

The bytes in use are counted in a file that all processes share, so a write that stays below the
limit reads nothing else. A write that goes over the limit takes a sample of `SAMPLE` entries from
some of the 256 folders, chosen at random. Entries of the sample that have expired or were
invalidated are removed, and the least recently used tenth of the others. This repeats until there
is room. So the cost does not grow with the number of entries, and the removed entries are nearly
the least recently used of all, as with the samples of Redis ("Key eviction", redis.io).

If a process is killed between a write and the count, the count is wrong by that write. All files
are counted again once a day, and whenever the count is found damaged.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import random
import struct
import time
import zlib
from collections.abc import Callable, Iterator

from beaker_regions.runtime.atomic_write import open_plain
from beaker_regions.runtime.flock import locked
from beaker_regions.stores.files import layout
from beaker_regions.stores.files.layout import Files

logger = logging.getLogger("beaker_regions")

DEFAULT = 10 * 1024**3
"""Bytes, if a region has no option: more than the query results and pages of most sites need, and
less than most disks have. Without a limit, a visitor who requests ever new pages fills the
disk."""
ROOM = 0.95
"""Share of the limit that is in use after entries were evicted."""
SAMPLE = 100
"""Entries among which the least recently used are chosen."""
TENTH = 10
BATCH = 100
"""Entries after which it is enough to be below the limit: later writes evict more."""
COUNT_AGAIN = 24 * 60 * 60.0
"""Seconds after which the bytes in use are counted again from the files."""
PATIENCE = 0.25
"""Seconds to wait for a process that counts, which takes microseconds. If that process was stopped,
the others wait no longer, and their bytes are counted when all files are counted again."""
USED_AGAIN = 60.0
"""Seconds within which a second use of an entry is not noted."""

_COUNT = struct.Struct("<qd")
"""Bytes in use; when all files were counted last, in seconds since the epoch."""
_CHECK = struct.Struct("<I")
"""CRC-32 of the count, stored after it."""


class SizeLimit:
    """The limit of one store, in bytes."""

    def __init__(self, store: Files, limit: int) -> None:
        self._store = store
        self.bytes = limit
        self.counter = store.folder / "usage"
        self.evicted: Callable[[int], None] = lambda _: None
        """Called with the number of evicted entries that had not expired."""
        self.evictions = 0
        """Number of these, by this process."""
        self._kept_since = math.inf

    def keep_since(self, moment: float | None) -> None:
        """Evict nothing in this process that is stored or used after ``moment``, in seconds since
        the epoch, except if it can never be served again. The region may then exceed its limit.
        None: evict again as usual."""
        # A use within the last minute was not noted.
        self._kept_since = math.inf if moment is None else moment - USED_AGAIN

    def used(self, record: str | int, found: os.stat_result) -> None:
        """Record that an entry is used, as the modification time of its record. ``record``: its
        path or descriptor; ``found``: its status."""
        if time.time() - found.st_mtime > USED_AGAIN:
            # If nothing can be written, the entry can still be used.
            with contextlib.suppress(OSError):
                os.utime(record)

    def grew(self, size: int) -> None:
        """Count ``size`` more bytes, fewer if negative, and make room if they exceed the limit. An
        error is only logged, because the entry is already stored."""
        try:
            if self._count(size) > self.bytes:
                self._make_room()
        except OSError as error:
            logger.warning("%s cannot be kept below its size: %s", self._store.folder, error)

    def recount(self) -> int:
        """Count all files; return the bytes in use. Raises OSError."""
        with self._counted() as descriptor:
            before, _ = _read(descriptor) or (0, 0.0)
            # So no other process counts them until the next day, or waits for this one.
            _write(descriptor, before, time.time())
        found = layout.bytes_in_use(self._store)
        with self._counted() as descriptor:
            after, _ = _read(descriptor) or (before, 0.0)
            return _write(descriptor, found + after - before, time.time())

    def in_use(self) -> int | None:
        """Return the latest count of the bytes in use, without waiting for a lock. None: there is
        no count yet, or it is damaged. Raises OSError."""
        try:
            with open(self.counter, "rb", opener=open_plain) as file:
                found = _read(file.fileno())
        except FileNotFoundError:
            return None
        return None if found is None else found[0]

    def is_damaged(self) -> bool:
        """Whether the count is there and cannot be right. Raises OSError."""
        if not self.counter.exists():
            return False
        with locked(str(self.counter), PATIENCE) as descriptor:
            return _read(descriptor) is None

    def _count(self, size: int) -> int:
        with self._counted() as descriptor:
            found = _read(descriptor)
            if found is not None and 0 <= time.time() - found[1] < COUNT_AGAIN:
                counted, since = found
                return _write(descriptor, counted + size, since)
        return self.recount()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[int]:
        """Yield the open counter, locked until this ends."""
        while True:
            with locked(str(self.counter), PATIENCE) as descriptor:
                if os.fstat(descriptor).st_size and _read(descriptor) is None:
                    # Nothing is written to it: it may be another file, put here by mistake.
                    os.unlink(self.counter)
                    continue
                yield descriptor
                return

    def _make_room(self) -> None:
        removed = 0
        sample: list[layout.Stored] = []
        for path in self._at_random():
            found = layout.stored_at(self._store, path)
            if found is None:
                continue
            if found.is_over(time.time()):
                going = [found]
            elif found.last_use >= self._kept_since:
                continue
            else:
                sample.append(found)
                going = _least_recently_used(sample) if len(sample) >= SAMPLE else []
            removed += len(going)
            if going and self._is_enough(self._remove(going), removed):
                return
        while sample:
            if self._remove(_least_recently_used(sample)) <= self.bytes * ROOM:
                return
        self.recount()  # Nothing is left that may go: the count was wrong, or all is kept.

    def _at_random(self) -> Iterator[str]:
        """Yield the paths of records, folder by folder."""
        shards = layout.shards(self._store)
        random.shuffle(shards)
        for shard in shards:
            paths = layout.records(shard)
            random.shuffle(paths)
            yield from paths

    def _is_enough(self, used: int, removed: int) -> bool:
        return used <= self.bytes * ROOM or (removed >= BATCH and used <= self.bytes)

    def _remove(self, entries: list[layout.Stored]) -> int:
        """Remove entries; return the bytes in use afterwards."""
        now = time.time()
        if evicted := sum(not found.is_over(now) for found in entries):
            self.evictions += evicted
            self.evicted(evicted)
        return self._count(-sum(layout.remove(self._store, found) for found in entries))


def _least_recently_used(sample: list[layout.Stored]) -> list[layout.Stored]:
    """Take a tenth out of a sample."""
    sample.sort(key=lambda found: found.last_use, reverse=True)
    tenth = -(-len(sample) // TENTH)
    return [sample.pop() for _ in range(tenth)]


def _read(descriptor: int) -> tuple[int, float] | None:
    """Return what `_write` wrote; None when there is nothing, or it was damaged."""
    stored = os.pread(descriptor, _COUNT.size + _CHECK.size, 0)
    count, check = stored[: _COUNT.size], stored[_COUNT.size :]
    if check != _CHECK.pack(zlib.crc32(count)) or len(count) < _COUNT.size:
        return None
    counted, since = _COUNT.unpack(count)
    return counted, since


def _write(descriptor: int, size: int, since: float) -> int:
    count = _COUNT.pack(size, since)
    os.pwrite(descriptor, count + _CHECK.pack(zlib.crc32(count)), 0)
    return size
