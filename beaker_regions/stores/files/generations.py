"""Generations of a store on disk: a table of random numbers in one file.

A scope's place in the table is a hash of its name; two scopes that share a place share
invalidations, which costs a load now and then and never serves a stale value. The table also has
an *epoch*, random at its making, that is part of what is compared: when the file is lost or damaged
and made anew, nothing stored before matches. So are the number of the file itself (its inode) and
when it was made: a former table that is put back, from a backup, would bring back what has been
invalidated since. The file system may give it the very number that the removed one had.

A former table may also be written into the file itself (``cp``). So each change leaves a *mark*, in
a second file: when the table was changed last, as the file system says (its ctime, which no program
can set). A process that finds another time there looks for the mark. If that has not the same time,
and nobody is about to write it, the table is removed. A process that is killed between the change
and its mark has the same effect: nothing stored before matches.

Who cannot write to the table cannot invalidate, and others would not hear of it; so it may not read
either.

The number behind the epoch is another one after each change, whatever it covers: while it stays,
what has been read stands, and a process that reads the same places again asks for this one alone.

Who changes several places locks the table while it does, shared with others who do so, and the
kernel ends that however a process ends. For as long as it writes, some microseconds, it locks the
others out; if it was stopped just then, they remove the table. A load begins with what was read
while nobody had the first lock: so all of an invalidation, or nothing, is before it, and no value
is older than those that it is made of (`beaker_regions.stores.memcached.generations` has more of
it). Whether somebody has the lock is asked, and it is not taken, so that nobody ever waits for who
reads.

The table is read by ``pread``, not mapped: a file that somebody cuts short under a mapping kills
the process, and the page cache answers in under a microsecond either way.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import os
import random
import struct
import time
import zlib
from typing import TYPE_CHECKING

from beaker_regions.engine.store import SETTLING
from beaker_regions.entries.records import GENERATION_SIZE
from beaker_regions.runtime import forking
from beaker_regions.runtime.atomic_write import sync_folder
from beaker_regions.stores.files.birth_time import made_at

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
_CHANGING, _WRITING = 0, 1
"""The bytes that are locked: while something changes, by all who change; and while it is written,
by one of them."""
_MARK = struct.Struct("<q")
"""When the table was changed, in nanoseconds since the epoch."""
_PATIENCE = 1.0
"""Seconds to wait for who writes."""
_PAUSE = 0.0005
_TRIES = 5
"""Tables that are removed, and made anew, before a call gives up."""
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class _OpenFile:
    """A descriptor that is closed when the last thread that uses it lets go."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, _FLAGS)
        found = os.fstat(self.descriptor)
        self.device, self.inode = found.st_dev, found.st_ino
        epoch = os.pread(self.descriptor, GENERATION_SIZE, 0)
        made = made_at(self.descriptor)
        digest = hashlib.blake2b(b"%d %d " % (self.inode, made) + epoch, digest_size=8).digest()
        self.identity = int.from_bytes(digest, "little")
        self.known: dict[tuple[int, ...], tuple[bytes, tuple[bytes, ...]]] = {}
        """By places: the latest change before they were read, and the generations there."""
        self.checked = -1
        """When it was changed, as the file system says, when it was last found to be marked so."""

    def is_being_changed(self) -> bool:
        """Whether somebody changes it who has opened it for that."""
        return _is_locked(self.descriptor, _CHANGING)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class GenerationTable:
    """The generations in one file, shared by all processes of this host."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._mark_path = f"{path}.mark"
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

    def read_uncached(self, places: tuple[int, ...]) -> tuple[bytes, ...]:
        """As `read`, and what a process changed that was killed before it could say so."""
        file = self._opened()
        file.known.pop(places, None)
        return self._read(file, places)

    def read_settled(self, places: tuple[int, ...]) -> tuple[bytes | None, ...]:
        """As `read_uncached`, when nobody changes the table: what begins to load after this finds
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

    def change(self, scopes: Iterable[str], during: Callable[[], None] | None = None) -> None:
        """Give ``scopes`` new generations, on disk before this returns. ``during`` is called
        before `read_settled` tells of them. Raises OSError.

        A reader that sees half of the eight bytes sees a number that was never current and never
        will be: no harm, and so no lock.
        """
        at = (*places(tuple(scopes)), _LATEST)
        try:
            for _ in range(_TRIES):
                self._opened()
                if self._change(at, during):
                    return
            raise OSError(errno.EBUSY, "others write to it and do not come to an end", self._path)
        except OSError:
            # A full disk takes no new number, but lets the table go: nothing stored before
            # matches the next one, in any process.
            with contextlib.suppress(OSError):
                os.unlink(self._path)
                sync_folder(os.path.dirname(self._path))
            raise

    def _change(self, at: tuple[int, ...], during: Callable[[], None] | None) -> bool:
        """Change what lies ``at`` some places. Returns False when the table is another one by now,
        or had to be removed."""
        # Of its own: a lock has no effect on who shares the open file.
        descriptor = os.open(self._path, _FLAGS)
        with forking.unshared(descriptor, _unlock):
            _lock(descriptor, fcntl.F_OFD_SETLK, fcntl.F_RDLCK, _CHANGING)
            try:
                mark = os.open(self._mark_path, _FLAGS)
            except OSError:
                self._remove(descriptor)
                return False
            try:
                if not _lock_out(descriptor) or _marked(mark) != _changed(descriptor):
                    self._remove(descriptor)
                    return False
                for place in at:
                    os.pwrite(descriptor, os.urandom(GENERATION_SIZE), place * GENERATION_SIZE)
                os.pwrite(mark, _MARK.pack(_changed(descriptor)), 0)
                _lock(descriptor, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, _WRITING)
                if during is not None:
                    during()
                if not self._is_in_place(descriptor):
                    # What was loaded in the new one may be made of what ``during`` ended.
                    return False
                _unlock(descriptor)
                # With its time, or a loss of power would cost all that is stored.
                os.fsync(descriptor)
                os.fdatasync(mark)
            finally:
                os.close(mark)
        return True

    def _opened(self) -> _OpenFile:
        # The file may be removed, replaced or cut short while this runs, and the others then use
        # another one: ask each time which it is.
        for _ in range(_TRIES):
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
            if found.st_ctime_ns == file.checked or self._is_marked(file):
                return file
            self._remove(file.descriptor)
        raise OSError(errno.EBUSY, "others change it in a way that is not ours", self._path)

    def _is_marked(self, file: _OpenFile) -> bool:
        """Whether one of us was the last who wrote to the table, or is writing at this moment."""
        before = self._mark()
        # Who writes has the lock until there is a mark. So if it is free at both times, and the
        # mark is the same before and after, nobody has written in between.
        was_locked = _is_locked(file.descriptor, _WRITING)
        changed = _changed(file.descriptor)
        if before == changed:
            file.checked = changed
            return True
        if was_locked or _is_locked(file.descriptor, _WRITING):
            return True
        return before != self._mark()

    def _mark(self) -> int | None:
        """Return when the table was changed by one of us; None where nothing says so."""
        try:
            descriptor = os.open(self._mark_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            return _marked(descriptor)
        finally:
            os.close(descriptor)

    def _remove(self, descriptor: int) -> None:
        """Remove the table that is open, unless another one is in its place by now."""
        if self._is_in_place(descriptor):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def _is_in_place(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _make(self, publish: Callable[[str, str], None]) -> None:
        folder, name = os.path.split(self._path)
        os.makedirs(folder, exist_ok=True)
        with _new_file(folder, name) as (descriptor, temporary):
            # Nobody looks for the mark until there is one.
            _lock(descriptor, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, _WRITING)
            os.write(descriptor, os.urandom(GENERATION_SIZE))
            os.ftruncate(descriptor, _SIZE)
            os.fsync(descriptor)
            with contextlib.suppress(FileExistsError):
                publish(temporary, self._path)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
                self._make_mark(_changed(descriptor))

    def _make_mark(self, changed: int) -> None:
        folder, name = os.path.split(self._mark_path)
        with _new_file(folder, name) as (descriptor, temporary):
            os.write(descriptor, _MARK.pack(changed))
            os.fsync(descriptor)
            os.replace(temporary, self._mark_path)


@contextlib.contextmanager
def _new_file(folder: str, name: str) -> Iterator[tuple[int, str]]:
    """Yield a new file's descriptor and its path, which is gone afterwards unless it was moved."""
    temporary = f"{folder}/.{name}.{os.urandom(8).hex()}"
    descriptor = os.open(temporary, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
    with forking.unshared(descriptor, _unlock):
        try:
            yield descriptor, temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _changed(descriptor: int) -> int:
    return os.fstat(descriptor).st_ctime_ns


def _marked(descriptor: int) -> int | None:
    """Return what a mark says; None where it is damaged."""
    found = os.pread(descriptor, _MARK.size, 0)
    return _MARK.unpack(found)[0] if len(found) == _MARK.size else None


def _lock_out(descriptor: int) -> bool:
    """Keep all others from writing; return whether they came to an end with it."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            _lock(descriptor, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, _WRITING)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE * random.uniform(0.1, 1.0))


def _is_locked(descriptor: int, byte: int) -> bool:
    """Whether somebody has locked a byte, who has opened the file for that."""
    return _lock(descriptor, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, byte) != fcntl.F_UNLCK


def _unlock(descriptor: int) -> None:
    _lock(descriptor, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, _CHANGING, 2)


def _lock(descriptor: int, command: int, type_: int, first: int, count: int = 1) -> int:
    """Do one of fcntl(2)'s commands for open file description locks; return the type of lock
    that it tells of."""
    told = fcntl.fcntl(descriptor, command, _LOCK.pack(type_, os.SEEK_SET, first, count, 0))
    found: int = _LOCK.unpack(told)[0]
    return found


@functools.lru_cache(1024)
def places(scopes: tuple[str, ...]) -> tuple[int, ...]:
    """Return where in a table the generations of ``scopes`` are; each is below 2**32."""
    return tuple([_place(scope) for scope in scopes])


def _place(scope: str) -> int:
    number = zlib.crc32(scope.encode())
    within = number % SHARED_PLACES if scope[0] in "fr" else SHARED_PLACES + number % PLACES
    return _LATEST + 1 + within
