"""The last loads of a host's processes: whether, when and under which generations an entry was
stored.

A store that has no record of an entry cannot tell whether it never had one, or lost it. This can:
a table in a file that all processes map into memory. An entry has one place in it, by its address;
another entry may take the place, and then nothing is known. A damaged table only gives wrong
reasons of misses.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
import time
from pathlib import Path
from typing import NamedTuple
from weakref import WeakValueDictionary

from beaker_regions.runtime.atomic_write import open_plain
from beaker_regions.runtime.interruptions import is_interruption
from beaker_regions.telemetry.sampling import fingerprint

PLACES = 1 << 16
"""Entries that can be remembered, at most."""
SIZE = PLACES * 16
"""Bytes."""
NAME = "loads"
_HALF = 32
_MASK = (1 << _HALF) - 1


class Load(NamedTuple):
    """The last load of an entry on this host."""

    at: int | None
    """When its value was stored, in seconds since the epoch; None: it was not stored."""
    generations: int
    """A hash of those under which it was stored."""


class LoadMemory:
    """The table of one folder; without a folder, of this process."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._table: memoryview | None = None

    def note(self, address: bytes, generations: tuple[bytes | None, ...], *, stored: bool) -> None:
        """Note that an entry was loaded just now."""
        table, (place, mark) = self._open(), _place(address)
        at = int(time.time()) & _MASK if stored else 0
        table[place] = mark << _HALF | at
        table[place + 1] = fingerprint(generations)

    def last(self, address: bytes) -> Load | None:
        """Return the last load of an entry; None: there was none, or it is not known."""
        table, (place, mark) = self._open(), _place(address)
        if table[place] >> _HALF != mark:
            return None
        return Load(table[place] & _MASK or None, table[place + 1])

    def is_taken(self, address: bytes) -> bool:
        """Whether the place of an entry has a load, of this entry or another."""
        return bool(self._open()[_place(address)[0]])

    def _open(self) -> memoryview:
        if self._table is None:
            with self._lock:
                if self._table is None:
                    self._table = self._mapped().cast("Q")
        return self._table

    def _mapped(self) -> memoryview:
        if self._folder is not None:
            try:
                return memoryview(_map(self._folder))
            except OSError as error:
                # If the folder cannot be used, the counters have said so.
                if is_interruption(error):
                    raise
        return memoryview(bytearray(SIZE))


def _place(address: bytes) -> tuple[int, int]:
    """Return the index of an entry's place, and a mark that few other entries have."""
    return (2 * (int.from_bytes(address[:4]) % PLACES), int.from_bytes(address[4:8]) or 1)


def _map(folder: Path) -> mmap.mmap:
    path = folder / NAME
    try:
        descriptor = open_plain(path, os.O_RDWR)
    except FileNotFoundError:
        # It gets its name when its space is allocated: a full disk would end a process that
        # writes to a part that has none.
        hidden = folder / f".{NAME}-{os.urandom(8).hex()}"
        descriptor = open_plain(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            os.posix_fallocate(descriptor, 0, SIZE)
            with contextlib.suppress(FileExistsError):
                os.link(hidden, path)
        finally:
            os.close(descriptor)
            hidden.unlink(missing_ok=True)
        descriptor = open_plain(path, os.O_RDWR)
    try:
        if os.fstat(descriptor).st_size < SIZE:
            raise OSError(f"{path} is damaged: remove it")
        return mmap.mmap(descriptor, SIZE)
    finally:
        os.close(descriptor)


_memories: WeakValueDictionary[Path, LoadMemory] = WeakValueDictionary()


def load_memory(folder: Path | None) -> LoadMemory:
    """Return the memory of a folder, the same for all regions of this process; without a folder, a
    new one."""
    if folder is None:
        return LoadMemory(None)
    return _memories.get(folder) or _memories.setdefault(folder, LoadMemory(folder))
