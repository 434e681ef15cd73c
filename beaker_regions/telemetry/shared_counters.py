"""Counters of a process, in files that other processes read.

Each process has its own files, mapped into memory. A file holds pairs of a name and a 64-bit
number. A count is in the file at once, so a killed process loses nothing. A process holds a lock on
its file as long as it lives. If a file can be locked, its process has ended
(`beaker_regions.telemetry.aggregate`); this also holds between hosts and containers. After
`PERIOD` seconds a process begins new files, and lets the old ones go. A file's name says its
period, so every count belongs to one, also those of a process that has counted nothing since.

prometheus_client's multi-process mode maps files too. There a full disk kills the process when it
first writes to a page; here the space is allocated when the file is made. Only its owner writes to
a file. A file may be removed at any time; its counts are then lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import math
import mmap
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from beaker_regions.runtime.atomic_write import open_plain
from beaker_regions.runtime.interruptions import is_interruption

logger = logging.getLogger("beaker_regions")

SIZE = 1 << 16
"""Bytes of a file, enough for some 700 numbers. A process with more has several files."""
SUFFIX = ".counts"
PERIOD = 5 * 60
"""Seconds of the counts in one file."""
_MAGIC = b"regions1"
_HEADER = struct.Struct("<8sq")
"""The magic, and the bytes in use."""
_USED_AT = 1
"""The index of the bytes in use, in 64-bit numbers."""
_LENGTH = struct.Struct("<q")


class Name(NamedTuple):
    """The name of a number."""

    region: str
    function: str
    """Module and qualified name; empty for the region as a whole."""
    event: str


class Slots(NamedTuple):
    """The location of some numbers: all numbers of a file, and the indexes of these."""

    numbers: memoryview
    indexes: tuple[int, ...]


class _File:
    """A file of numbers that this process writes; without a folder, memory only."""

    def __init__(self, folder: Path | None, period: int) -> None:
        memory: mmap.mmap | bytearray = bytearray(SIZE)
        if folder is not None:
            try:
                memory = self._make(folder, period)
            except OSError as error:
                if is_interruption(error):
                    raise
                logger.warning("the counts of this process cannot be shared: %s", error)
        self._bytes = memoryview(memory)
        self.numbers = self._bytes.cast("q")
        self._bytes[: _HEADER.size] = _HEADER.pack(_MAGIC, _HEADER.size)
        self._used = _HEADER.size
        """A copy of the number in the file, since another program may damage that."""

    def _make(self, folder: Path, period: int) -> mmap.mmap:
        name = f"{os.getpid()}-{os.urandom(8).hex()}-{period}"
        # It gets its name after it is locked. Before, it would look like an ended process's file.
        hidden = folder / f".{name}"
        descriptor = open_plain(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(descriptor, 0, SIZE)
            memory = mmap.mmap(descriptor, SIZE)
            memory[: _HEADER.size] = _HEADER.pack(_MAGIC, _HEADER.size)
            os.rename(hidden, folder / f"{name}{SUFFIX}")
        except BaseException:
            hidden.unlink(missing_ok=True)
            raise
        finally:
            # The mapping has its own descriptor, and keeps the lock.
            os.close(descriptor)
        return memory

    def add(self, names: Sequence[Name]) -> Slots | None:
        """Add a number, 0, for each name. Returns None if there is no room."""
        used = self._used
        indexes = []
        for name in names:
            key = json.dumps(name).encode()
            key += b" " * (-len(key) % _LENGTH.size)
            end = used + _LENGTH.size + len(key) + _LENGTH.size
            if end > SIZE:
                return None
            _LENGTH.pack_into(self._bytes, used, len(key))
            self._bytes[used + _LENGTH.size : used + _LENGTH.size + len(key)] = key
            self._bytes[end - _LENGTH.size : end] = bytes(_LENGTH.size)
            indexes.append(end // _LENGTH.size - 1)
            used = end
        self.numbers[_USED_AT] = self._used = used
        return Slots(self.numbers, tuple(indexes))


class SharedCounters:
    """The numbers of this process in one folder; without a folder they are not shared."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._files: list[_File] = []
        """Those of this period. They stay mapped and locked as long as anything counts in them. New
        names go to the last."""
        self._lock = threading.RLock()  # a signal handler may call a cached function too
        self.begins, self.ends = (-math.inf, math.inf) if folder is None else (0.0, 0.0)
        """The period, in seconds since the epoch."""

    def begin_period(self, now: float) -> bool:
        """Begin new files if the period is over. Returns whether it was."""
        with self._lock:
            if self.begins <= now < self.ends:
                return False
            self.begins = now // PERIOD * PERIOD
            self.ends = self.begins + PERIOD
            self._files = []
            return True

    def allocate(self, names: Sequence[Name]) -> Slots:
        """Return new numbers for ``names``. Readers add up several numbers of one name."""
        with self._lock:
            for _ in range(2):
                if self._files and (slots := self._files[-1].add(names)):
                    return slots
                period = 0 if self.folder is None else int(self.begins)
                self._files.append(_File(self.folder, period))
            raise ValueError(f"names too long to count: {names[0]}")

    def after_fork(self) -> None:
        """Start new files in the child of a fork. The copied mappings and locks are the parent's,
        so the child must not keep them."""
        self._lock = threading.RLock()
        self._files = []


def period_of(name: str) -> int | None:
    """Return the start of a file's period, in seconds since the epoch; None if its name says
    none: an earlier release made it."""
    parts = name.removesuffix(SUFFIX).split("-")
    return int(parts[2]) if len(parts) == 3 and parts[2].isdecimal() else None


def read(content: bytes) -> Iterator[tuple[Name, int]]:
    """Yield the names and numbers in a file's content; nothing if it is not such a file."""
    if len(content) < _HEADER.size:
        return
    magic, used = _HEADER.unpack_from(content)
    if magic != _MAGIC or not _HEADER.size <= used <= len(content):
        return
    at = _HEADER.size
    while at < used:
        (length,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size
        if length <= 0 or at + length + _LENGTH.size > used:
            return
        with contextlib.suppress(ValueError, TypeError):
            name = Name(*map(str, json.loads(content[at : at + length])))
            yield name, _LENGTH.unpack_from(content, at + length)[0]
        at += length + _LENGTH.size
