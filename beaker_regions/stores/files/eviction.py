"""Keeping a files region below a size: the least recently used entries go first.

The bytes in use are counted in a file that all processes share, so a write that stays below the
limit looks at nothing else. One that goes over it looks at `SAMPLE` entries, in some of the 256
folders chosen at random: what has expired or was invalidated goes, and of the rest the least
recently used tenth; and so on until there is room. So its cost does not grow with the number of
entries, and what goes is nearly the oldest of all, as with the samples of Redis ("Key eviction",
redis.io).

A process that is killed between a write and the count leaves the count wrong by that write; all
files are looked at again once a day, and whenever the count itself is found damaged.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import struct
import time
import zlib
from typing import TYPE_CHECKING

from beaker_regions.runtime.flock import locked
from beaker_regions.stores.files import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beaker_regions.stores.files.layout import Files

logger = logging.getLogger("beaker_regions")

DEFAULT = 10 * 1024**3
"""Bytes, where a region says nothing else: more than the results of queries and the pages of most
sites come to, and less than most disks have. Without a limit, whoever asks for ever other pages
fills the disk."""
ROOM = 0.95
"""Share of the limit that is in use after entries had to go."""
SAMPLE = 100
"""Entries among which the least recently used are chosen."""
TENTH = 10
BATCH = 100
"""Entries after which it is enough to be below the limit: others will go at later writes."""
COUNT_AGAIN = 24 * 60 * 60.0
"""Seconds after which the bytes in use are counted anew."""
PATIENCE = 0.25
"""Seconds to wait for who counts, which takes microseconds: a process that was stopped in the
middle costs the others no more, and their bytes are counted with the next look at all files."""
USED_AGAIN = 60.0
"""Seconds within which a second use of an entry is not noted."""

_COUNT = struct.Struct("<qd")
"""Bytes in use; when all files were last looked at, in seconds since the epoch."""
_CHECK = struct.Struct("<I")
"""CRC-32 of these, which stands behind them."""


class SizeLimit:
    """The limit of one store, in bytes."""

    def __init__(self, store: Files, limit: int) -> None:
        self._store = store
        self.bytes = limit
        self.counter = store.folder / "usage"
        self.evicted: Callable[[int], None] = lambda _: None
        """Told how many entries had to go that had not expired."""

    def used(self, record: str | int, found: os.stat_result) -> None:
        """Note that an entry is used, in the modification time of its record, which is given by
        path or descriptor, as it was found."""
        if time.time() - found.st_mtime > USED_AGAIN:
            # Where nothing can be written, the entry can be used all the same.
            with contextlib.suppress(OSError):
                os.utime(record)

    def grew(self, size: int) -> None:
        """Count ``size`` more bytes, fewer if negative, and make room if it is time to. What goes
        wrong is logged: the entry is stored."""
        try:
            if self._count(size) > self.bytes:
                self._make_room()
        except OSError as error:
            logger.warning("%s cannot be kept below its size: %s", self._store.folder, error)

    def recount(self) -> int:
        """Look at all files; return the bytes in use. Raises OSError."""
        with self._counted() as descriptor:
            before, _ = _read(descriptor) or (0, 0.0)
            # Nobody else has to look at them until the next day, nor to wait for this one.
            _write(descriptor, before, time.time())
        found = layout.bytes_in_use(self._store)
        with self._counted() as descriptor:
            after, _ = _read(descriptor) or (before, 0.0)
            return _write(descriptor, found + after - before, time.time())

    def in_use(self) -> int | None:
        """Return the bytes in use as they were counted last, without waiting for who counts; None:
        they were not yet, or the count is damaged. Raises OSError."""
        try:
            descriptor = os.open(self.counter, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            found = _read(descriptor)
        finally:
            os.close(descriptor)
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
        """Yield the open counter, which is nobody else's until this ends."""
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
            else:
                sample.append(found)
                going = _least_recently_used(sample) if len(sample) >= SAMPLE else []
            removed += len(going)
            if going and self._is_enough(self._remove(going), removed):
                return
        while sample:
            if self._remove(_least_recently_used(sample)) <= self.bytes * ROOM:
                return
        self.recount()  # There is nothing left: the count was wrong.

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
