"""Records of content that this process has just read, so that a hit opens one file.

A record from this cache may be served under the same conditions as one from the disk: its
generations are current, and it has not expired. So it does not matter if the file has a newer
record by now. `beaker_regions.engine.store.Store.read_for_load` always reads the newest.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from beaker_regions.entries.records import Record

MOST = 8192
"""Records, of some 500 bytes each."""
CHECK_AGAIN = 10.0
"""Seconds after which the file is checked: is it still the one that was read?"""

_Version = tuple[int, int, int]


class _Read(NamedTuple):
    until: float
    """When to check the file again, by the monotonic clock, which cannot be set."""
    version: _Version
    record: Record


class RecordCache:
    """Records by the addresses of their entries; all threads of the process use it."""

    def __init__(self) -> None:
        self._read: dict[bytes, _Read] = {}

    def __contains__(self, address: bytes) -> bool:
        return address in self._read

    def get(self, address: bytes, generations: tuple[bytes | None, ...]) -> Record | None:
        """Return an entry's record if it has these generations and needs no check of its file."""
        read = self._read.get(address)
        if read is None or read.record.generations != generations:
            return None
        return read.record if time.monotonic() < read.until else None

    def unchanged(self, address: bytes, file: os.stat_result) -> Record | None:
        """Return an entry's record if its ``file`` is the one that was read."""
        read = self._read.get(address)
        if read is None or read.version != _version(file):
            return None
        self.keep(address, file, read.record)
        return read.record

    def keep(self, address: bytes, file: os.stat_result, record: Record) -> None:
        """Remember the record that ``file`` holds."""
        if len(self._read) >= MOST and address not in self._read:
            self._read.clear()
        until = time.monotonic() + min(CHECK_AGAIN, record.stored_at + record.expire - time.time())
        self._read[address] = _Read(until, _version(file), record)

    def forget(self, address: bytes) -> None:
        """Drop an entry's record: the next read opens the file."""
        self._read.pop(address, None)


def _version(file: os.stat_result) -> _Version:
    """Return what distinguishes this file from every other one with the same name."""
    return file.st_ino, file.st_ctime_ns, file.st_size
