"""Numbers that a process counts up, in files that others read.

Each process has files of its own, mapped into memory: entries of a name and a 64-bit number, one
after the other. What is counted is in the file at once, so a process that is killed loses nothing.
The owner holds a lock on its file as long as it lives, on whatever host or in whatever container;
a file that can be locked belongs to nobody any more (`beaker_regions.telemetry.aggregate`).

prometheus_client's multi-process mode maps files too, in pages that the disk may have no room for
when they are touched, which kills the process; here the room is taken when the file is made.
A file may be removed at any time, and then counts for nobody; only its owner writes to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import mmap
import os
import struct
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

logger = logging.getLogger("beaker_regions")

SIZE = 1 << 16
"""Bytes of a file: some 700 numbers. A process that counts more has several files."""
SUFFIX = ".counts"
_MAGIC = b"regions1"
_HEADER = struct.Struct("<8sq")
"""The magic, and the bytes in use."""
_USED_AT = 1
"""Where that is, counted in numbers."""
_LENGTH = struct.Struct("<q")


class Name(NamedTuple):
    """What a number counts."""

    region: str
    function: str
    """Module and qualified name; empty for what happens to the region as a whole."""
    event: str


class Place(NamedTuple):
    """Where numbers lie: the numbers of a file, and the indexes of ours among them."""

    numbers: memoryview
    indexes: tuple[int, ...]


class _File:
    """A file of numbers that this process writes; without a folder, room in memory."""

    def __init__(self, folder: Path | None) -> None:
        memory: mmap.mmap | bytearray = bytearray(SIZE)
        if folder is not None:
            try:
                memory = self._make(folder)
            except OSError as error:
                logger.warning("what this process counts cannot be shared: %s", error)
        self._bytes = memoryview(memory)
        self.numbers = self._bytes.cast("q")
        self._bytes[: _HEADER.size] = _HEADER.pack(_MAGIC, _HEADER.size)
        self._used = _HEADER.size
        """As the file says, which others may have damaged."""

    def _make(self, folder: Path) -> mmap.mmap:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{os.getpid()}-{os.urandom(8).hex()}"
        # It gets its name when it is locked: until then it would be taken for a dead process's.
        hidden = folder / f".{name}"
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(descriptor, 0, SIZE)
            memory = mmap.mmap(descriptor, SIZE)
            memory[: _HEADER.size] = _HEADER.pack(_MAGIC, _HEADER.size)
            os.rename(hidden, folder / f"{name}{SUFFIX}")
        except OSError:
            hidden.unlink(missing_ok=True)
            raise
        finally:
            # The mapping has a descriptor of its own, and the lock lasts as long as that.
            os.close(descriptor)
        return memory

    def add(self, names: Sequence[Name]) -> Place | None:
        """Give the names numbers, 0 at first; None if there is no room for them."""
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
        return Place(self.numbers, tuple(indexes))


class Cells:
    """The numbers of this process in one folder; None: not shared."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._files: list[_File] = []
        """All of them stay mapped and locked as long as they are counted in; the last has room."""
        self._lock = threading.Lock()

    def place(self, names: Sequence[Name]) -> Place:
        """Return new numbers for ``names``; a name may have several, which then are added up."""
        with self._lock:
            for _ in range(2):
                if self._files and (place := self._files[-1].add(names)):
                    return place
                self._files.append(_File(self.folder))
            raise ValueError(f"names too long to count: {names[0]}")

    def after_fork(self) -> None:
        """In the child: begin anew, in files of its own. Those that the fork has copied are the
        parent's, and so are their locks: nobody here may go on mapping them."""
        self._lock = threading.Lock()
        self._files = []


def read(content: bytes) -> Iterator[tuple[Name, int]]:
    """Yield the names and numbers in a file's content; nothing for what is no such file."""
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
