"""Generations of a store on disk: a table of random numbers in one file.

A scope's place in the table is a hash of its name; two scopes that share a place share
invalidations, which costs a load now and then and never serves a stale value. The table also has
an *epoch*, random at its making, that is part of every generation: when the file is lost or
damaged and made anew, nothing stored before matches.

The table is read by ``pread``, not mapped: a file that somebody cuts short under a mapping kills
the process, and the page cache answers in under a microsecond either way.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from typing import TYPE_CHECKING

from regions.records import GENERATION_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

SHARED_PLACES = 1 << 12
"""Places for the scopes of regions and functions, which are few and cover much."""
PLACES = 1 << 20
"""Places for all others; the file is sparse, so that only those in use take room."""

_SIZE = (1 + SHARED_PLACES + PLACES) * GENERATION_SIZE


class _OpenFile:
    """A descriptor that is closed when the last thread that uses it lets go."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        found = os.fstat(self.descriptor)
        self.identity = (found.st_dev, found.st_ino)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class GenerationTable:
    """The generations in one file, shared by all processes of this host."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: _OpenFile | None = None

    def read(self, scopes: Iterable[str]) -> tuple[bytes, ...]:
        """Return the current generations of ``scopes``. Raises OSError."""
        file = self._opened()
        epoch, *found = [
            os.pread(file.descriptor, GENERATION_SIZE, at) for at in (0, *map(_place, scopes))
        ]
        if any(len(generation) != GENERATION_SIZE for generation in (epoch, *found)):
            raise OSError(f"{self._path} was cut short")
        return tuple([_mix(epoch, generation) for generation in found])

    def change(self, scopes: Iterable[str]) -> None:
        """Give ``scopes`` new generations, on disk before this returns. Raises OSError.

        A reader that sees half of the eight bytes sees a number that was never current and never
        will be: no harm, and so no lock.
        """
        try:
            file = self._opened()
            for at in map(_place, scopes):
                os.pwrite(file.descriptor, os.urandom(GENERATION_SIZE), at)
            os.fdatasync(file.descriptor)
        except OSError:
            # A full disk takes no new number, but lets the table go: nothing stored before
            # matches the next one, in any process.
            with contextlib.suppress(OSError):
                self._path.unlink()
            raise

    def _opened(self) -> _OpenFile:
        # The file may be removed, replaced or cut short while this runs, and the others then use
        # another one: ask each time which it is.
        file = self._file
        try:
            found = os.stat(self._path)
            if found.st_size != _SIZE:
                self._make(os.replace)
                found = os.stat(self._path)
        except FileNotFoundError:
            # A link never replaces: of several processes that make the table, one wins.
            self._make(os.link)
            found = os.stat(self._path)
        if file is None or file.identity != (found.st_dev, found.st_ino):
            file = self._file = _OpenFile(self._path)
        return file

    def _make(self, publish: Callable[[Path, Path], None]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.{os.urandom(8).hex()}")
        try:
            with open(temporary, "xb") as file:
                file.write(os.urandom(GENERATION_SIZE))
                file.truncate(_SIZE)
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                publish(temporary, self._path)
        finally:
            temporary.unlink(missing_ok=True)


def _place(scope: str) -> int:
    number = zlib.crc32(scope.encode())
    if scope[0] in "fr":
        place = number % SHARED_PLACES
    else:
        place = SHARED_PLACES + number % PLACES
    return (1 + place) * GENERATION_SIZE


def _mix(epoch: bytes, generation: bytes) -> bytes:
    mixed = int.from_bytes(epoch, "little") ^ int.from_bytes(generation, "little")
    return mixed.to_bytes(GENERATION_SIZE, "little")
