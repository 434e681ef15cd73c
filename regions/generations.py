"""Generations of a store on disk: a table of random numbers in one file.

A scope's place in the table is a hash of its name; two scopes that share a place share
invalidations, which costs a load now and then and never serves a stale value. The table also has
an *epoch*, random at its making, that is part of what is compared: when the file is lost or damaged
and made anew, nothing stored before matches. So are the number of the file itself (its inode) and
when it was made: a former table that is put back, from a backup, would bring back what has been
invalidated since. The file system may give it the very number that the removed one had.

Who cannot write to the table cannot invalidate, and others would not hear of it; so it may not read
either.

The number behind the epoch is another one after each change, whatever it covers: while it stays,
what has been read stands, and a process that reads the same places again asks for this one alone.

Who changes several places locks the table while it does, shared with others who do so, and the
kernel ends that however a process ends. A load begins with what was read while nobody had such a
lock: so all of an invalidation, or nothing, is before it, and no value is older than those that it
is made of (`regions.backends.memcached_generations` has more of it). Whether somebody has the lock
is asked, and it is not taken, so that nobody ever waits for who reads.

The table is read by ``pread``, not mapped: a file that somebody cuts short under a mapping kills
the process, and the page cache answers in under a microsecond either way.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import struct
import time
import zlib
from typing import TYPE_CHECKING

from regions.backends.file_birth import made_at
from regions.backends.file_writing import sync_folder
from regions.records import GENERATION_SIZE
from regions.store import SETTLING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

SHARED_PLACES = 1 << 12
"""Places for the scopes of regions and functions, which are few and cover much."""
PLACES = 1 << 20
"""Places for all others; the file is sparse, so that only those in use take room."""

_LATEST = 1
"""The place of the latest change; the epoch is before it, all others behind."""
_SIZE = (2 + SHARED_PLACES + PLACES) * GENERATION_SIZE
_REMEMBERED = 8192
"""Sets of places whose generations are remembered."""
_LOCK = struct.Struct("hhqqi4x")
"""Linux's ``struct flock`` (fcntl(2)): type, whence, start, length, process."""
_CHANGED = 0, 0, 1, 0
"""What is locked, without the type: the first byte stands for all."""


class _OpenFile:
    """A descriptor that is closed when the last thread that uses it lets go."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        found = os.fstat(self.descriptor)
        self.device, self.inode = found.st_dev, found.st_ino
        epoch = os.pread(self.descriptor, GENERATION_SIZE, 0)
        made = made_at(self.descriptor)
        digest = hashlib.blake2b(b"%d %d " % (self.inode, made) + epoch, digest_size=8).digest()
        self.identity = int.from_bytes(digest, "little")
        self.known: dict[tuple[int, ...], tuple[bytes, tuple[bytes, ...]]] = {}
        """By places: the latest change before they were read, and the generations there."""

    @contextlib.contextmanager
    def being_changed(self) -> Iterator[None]:
        """Let others see that it is, until this ends."""
        self._lock(fcntl.F_OFD_SETLK, fcntl.F_RDLCK)
        try:
            yield
        finally:
            self._lock(fcntl.F_OFD_SETLK, fcntl.F_UNLCK)

    def is_being_changed(self) -> bool:
        """Whether somebody changes it who has opened it for that."""
        return self._lock(fcntl.F_OFD_GETLK, fcntl.F_WRLCK) != fcntl.F_UNLCK

    def _lock(self, command: int, type_: int) -> int:
        """Do one of fcntl(2)'s commands for open file description locks; return the type of lock
        that it tells of."""
        told = fcntl.fcntl(self.descriptor, command, _LOCK.pack(type_, *_CHANGED))
        found: int = _LOCK.unpack(told)[0]
        return found

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class GenerationTable:
    """The generations in one file, shared by all processes of this host."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._file: _OpenFile | None = None

    def read(self, places: tuple[int, ...]) -> tuple[bytes, ...]:
        """Return the current generations at the `places` of some scopes. Raises OSError."""
        file = self._opened()
        # First: what is changed from now on, this shows the next time.
        latest = os.pread(file.descriptor, GENERATION_SIZE, _LATEST * GENERATION_SIZE)
        known = file.known.get(places)
        if known is not None and known[0] == latest:
            return known[1]
        found = self._read(file, places)
        if len(file.known) >= _REMEMBERED and known is None:
            file.known.clear()
        file.known[places] = latest, found
        return found

    def read_afresh(self, places: tuple[int, ...]) -> tuple[bytes, ...]:
        """As `read`, and what a process changed that was killed before it could say so."""
        file = self._opened()
        file.known.pop(places, None)
        return self._read(file, places)

    def read_settled(self, places: tuple[int, ...]) -> tuple[bytes | None, ...]:
        """As `read_afresh`, when nobody changes the table: what begins to load after this finds
        nothing older stored. None for each while somebody does not come to an end with it."""
        for pause in SETTLING:
            file = self._opened()
            found = self._read(file, places)
            if not file.is_being_changed():
                return found
            time.sleep(pause)
        return (None,) * len(places)

    def _read(self, file: _OpenFile, places: tuple[int, ...]) -> tuple[bytes, ...]:
        descriptor, pread = file.descriptor, os.pread
        found = [pread(descriptor, GENERATION_SIZE, at * GENERATION_SIZE) for at in places]
        if not all(found):
            raise OSError(f"{self._path} was cut short")
        # A record wants all of its generations to be current, so one of them speaks for the table.
        own = int.from_bytes(found[0], "little") ^ file.identity
        found[0] = own.to_bytes(GENERATION_SIZE, "little")
        return tuple(found)

    def change(self, scopes: Iterable[str], meanwhile: Callable[[], None] | None = None) -> None:
        """Give ``scopes`` new generations, on disk before this returns. ``meanwhile`` is called
        before `read_settled` tells of them. Raises OSError.

        A reader that sees half of the eight bytes sees a number that was never current and never
        will be: no harm, and so no lock.
        """
        try:
            self._opened()
            # Of its own: a lock has no effect on who shares the open file.
            file = _OpenFile(self._path)
            with file.being_changed():
                for at in (*places(tuple(scopes)), _LATEST):
                    os.pwrite(file.descriptor, os.urandom(GENERATION_SIZE), at * GENERATION_SIZE)
                if meanwhile is not None:
                    meanwhile()
            os.fdatasync(file.descriptor)
        except OSError:
            # A full disk takes no new number, but lets the table go: nothing stored before
            # matches the next one, in any process.
            with contextlib.suppress(OSError):
                os.unlink(self._path)
                sync_folder(os.path.dirname(self._path))
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
        if file is None or file.inode != found.st_ino or file.device != found.st_dev:
            file = self._file = _OpenFile(self._path)
        return file

    def _make(self, publish: Callable[[str, str], None]) -> None:
        folder, name = os.path.split(self._path)
        os.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{name}.{os.urandom(8).hex()}"
        try:
            with open(temporary, "xb") as file:
                file.write(os.urandom(GENERATION_SIZE))
                file.truncate(_SIZE)
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                publish(temporary, self._path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


@functools.lru_cache(1024)
def places(scopes: tuple[str, ...]) -> tuple[int, ...]:
    """Return where in a table the generations of ``scopes`` are; each is below 2**32."""
    return tuple([_place(scope) for scope in scopes])


def _place(scope: str) -> int:
    number = zlib.crc32(scope.encode())
    within = number % SHARED_PLACES if scope[0] in "fr" else SHARED_PLACES + number % PLACES
    return _LATEST + 1 + within
