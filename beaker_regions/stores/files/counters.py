"""Counters in files.

A fixed number of files holds all numbers, so that many short-lived numbers, such as one for each
visitor, need no file each. The place of an expired number is used again. A number is written in
place by one system call of a few bytes: if the process is killed, it is written or not. It is not
synced to disk: if a machine loses power, it may lose the counts of the last seconds.
"""

from __future__ import annotations

import errno
import os
import struct
import time
import zlib
from pathlib import Path
from typing import NamedTuple

from beaker_regions.engine.store import Counters
from beaker_regions.entries.records import ADDRESS_SIZE
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.runtime.atomic_write import reported
from beaker_regions.runtime.flock import locked

_SLOT = struct.Struct(f"<{ADDRESS_SIZE}sdQ")
_CHECK = struct.Struct("<I")
_SIZE = _SLOT.size + _CHECK.size


class _Number(NamedTuple):
    address: bytes
    ends_at: float
    """Seconds since the epoch; infinity: never."""
    total: int

    @classmethod
    def unpack(cls, data: bytes, at: int) -> _Number | None:
        """Return the number at a place; None when it is damaged."""
        packed = data[at : at + _SLOT.size]
        (check,) = _CHECK.unpack_from(data, at + _SLOT.size)
        return cls._make(_SLOT.unpack(packed)) if check == zlib.crc32(packed) else None

    def pack(self) -> bytes:
        packed = _SLOT.pack(*self)
        return packed + _CHECK.pack(zlib.crc32(packed))


class FileCounters(Counters):
    """The numbers of one region, shared by all threads and processes of a host."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def add(self, address: bytes, amount: int, seconds: float) -> int:
        now = time.time()
        with reported("count"), locked(self._path(address)) as descriptor:
            data = _read(descriptor)
            at = _find(data, address)
            number = _Number(address, now + seconds, amount)
            if at is None:
                at = _free(data, now)
            else:
                found = _number(descriptor, data, at)
                if now < found.ends_at:
                    number = found._replace(total=found.total + amount)
            _write(descriptor, number, at)
        return number.total

    def value(self, address: bytes) -> int:
        with reported("count"), locked(self._path(address)) as descriptor:
            data = _read(descriptor)
            at = _find(data, address)
            found = _NOTHING if at is None else _number(descriptor, data, at)
        return found.total if time.time() < found.ends_at else 0

    def reset(self, address: bytes) -> None:
        with reported("count"), locked(self._path(address)) as descriptor:
            at = _find(_read(descriptor), address)
            if at is not None:
                _write(descriptor, _NOTHING, at)

    def _path(self, address: bytes) -> str:
        return f"{self._folder}/{address.hex()[:2]}"


_NOTHING = _Number(bytes(ADDRESS_SIZE), 0.0, 0)


def _read(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _write(descriptor: int, number: _Number, at: int) -> None:
    if os.pwrite(descriptor, number.pack(), at) != _SIZE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _number(descriptor: int, data: bytes, at: int) -> _Number:
    """Return the number at a place; a damaged one starts again from 0 after this."""
    number = _Number.unpack(data, at)
    if number is None:
        _write(descriptor, _NOTHING, at)
        raise StoreUnavailableError("refused", "a counter was damaged and starts again from 0")
    return number


def _find(data: bytes, address: bytes) -> int | None:
    """Return the place of a number; None where there is none."""
    at = data.find(address)
    while at % _SIZE and at >= 0:
        at = data.find(address, at + 1)
    # An incomplete number at the end, after a full disk, is no place.
    return at if 0 <= at <= len(data) - _SIZE else None


def _free(data: bytes, now: float) -> int:
    """Return a place for a new number: that of an expired or damaged number, or the end."""
    end = len(data) - len(data) % _SIZE
    for at in range(0, end, _SIZE):
        number = _Number.unpack(data, at)
        if number is None or now >= number.ends_at:
            return at
    return end
