"""Records of content that this process has just read, so that a hit opens one file.

A record from this cache may be served under the same conditions as one from the disk: its
generations are current, and it has not expired. So it does not matter if the file has a newer
record by now. Other records (`beaker_regions.entries.known`) are used again while their file is the
one that was read. `beaker_regions.engine.store.Store.read_for_load` always reads the newest.
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

SETTLED, SETTLED_COARSE = 0.1, 2.1
"""Seconds. Of two changes within one tick of the file system's clock, the second one may leave no
trace in the file's status. The other time is for a file system with ticks of whole seconds: ext4
with inodes of 128 bytes has one second, FAT two."""

Version = tuple[int, int, int]
Read = tuple[bytes | None, os.stat_result]


class CachedRecord(NamedTuple):
    until: float
    """When to check the file again, by the monotonic clock, which cannot be set."""
    version: Version
    record: Record


class RecordCache:
    """Records by the addresses of their entries; all threads of the process use it."""

    def __init__(self) -> None:
        self._read: dict[bytes, CachedRecord] = {}

    def get(self, address: bytes, generations: tuple[bytes | None, ...]) -> Record | None:
        """Return an entry's record if it has these generations and needs no check of its file."""
        read = self._read.get(address)
        if read is None or read.record.generations != generations:
            return None
        return read.record if time.monotonic() < read.until else None

    def find(self, address: bytes) -> CachedRecord | None:
        """Return an entry's record and the version of its file, which has to be checked."""
        return self._read.get(address)

    def keep(self, address: bytes, file: os.stat_result, record: Record) -> None:
        """Remember the record that ``file`` holds."""
        if len(self._read) >= MOST and address not in self._read:
            self._read.clear()
        until = time.monotonic() + min(CHECK_AGAIN, record.stored_at + record.expire - time.time())
        self._read[address] = CachedRecord(until, version_of(file), record)

    def forget(self, address: bytes) -> None:
        """Drop an entry's record: the next read opens the file."""
        self._read.pop(address, None)


def version_of(file: os.stat_result) -> Version:
    """Return what distinguishes this file from every other one with the same name."""
    return file.st_ino, file.st_ctime_ns, file.st_size


def settled_version_of(file: os.stat_result) -> Version | None:
    """As `version_of`; None if it was changed just now: a further change may have the same version
    ("racy git", git-scm.com/docs/racy-git)."""
    settled = SETTLED if file.st_ctime_ns % 10**9 else SETTLED_COARSE
    return version_of(file) if time.time() - file.st_ctime > settled else None


def read_if_changed(path: str, version: Version | None) -> Read | None:
    """Return the bytes of a file, and its status; no bytes if it has this version, and None if
    there is no file. Raises OSError."""
    try:
        if version is not None:
            found = os.stat(path)
            if version_of(found) == version:
                return None, found
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        # Plain system calls take half the time of open().read() for a small file.
        found = os.fstat(descriptor)
        return os.read(descriptor, found.st_size), found
    finally:
        os.close(descriptor)
