"""Records of content that this process has read a moment ago, so that a hit opens one file.

What is remembered counts as what is read does: while it carries the generations that are current
and has not expired. That a later one has taken its place meanwhile, renewed early or after an
eviction, makes it no less so. `beaker_regions.engine.store.Store.read_for_load` reads the latest.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os

    from beaker_regions.entries.records import Record

MOST = 8192
"""Records, of some 500 bytes each."""
LOOK_AGAIN = 10.0
"""Seconds; then the record's file is looked at: whether it is still the one that was read."""

_Version = tuple[int, int, int]


class _Read(NamedTuple):
    until: float
    """When to look again, by the monotonic clock, which nobody sets."""
    version: _Version
    record: Record


class RecordCache:
    """Records by the addresses of their entries; all threads of the process use it."""

    def __init__(self) -> None:
        self._read: dict[bytes, _Read] = {}

    def __contains__(self, address: bytes) -> bool:
        return address in self._read

    def get(self, address: bytes, generations: tuple[bytes | None, ...]) -> Record | None:
        """Return an entry's record if it counts under ``generations``."""
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
        until = time.monotonic() + min(LOOK_AGAIN, record.stored_at + record.expire - time.time())
        self._read[address] = _Read(until, _version(file), record)

    def forget(self, address: bytes) -> None:
        """Let an entry's record be read."""
        self._read.pop(address, None)


def _version(file: os.stat_result) -> _Version:
    """Return what tells a record's file from any other that has its name, before or after."""
    return file.st_ino, file.st_ctime_ns, file.st_size
