"""Generations of a store on disk: a table of random numbers in one file.

The place of a scope in the table is a hash of its name. Two scopes of one kind may have the same
place: then they are invalidated together. This costs a load, and never serves a stale value.

The first number is the table's *epoch*. It is random and part of every comparison: if the file is
lost or damaged, a new one is made, and no stored record matches it. The inode of the file and the
time when it was made are also compared. Otherwise an old table that is restored from a backup would
make invalidated records current again. The time is needed because the file system may give the
restored file the inode of the removed one.

An old table may also be written into the file itself (``cp``). So each change writes a *mark* to a
second file: the time of the change as the file system reports it (ctime, which no program can set).
A process that finds a new ctime reads the mark. If the mark has another time, and no process is
about to write it, the process removes the table. If a process is killed between a change and its
mark, the effect is the same: no stored record matches.

A process that cannot write to the table cannot invalidate, so other processes would keep old
values. It therefore may not read either.

The second number changes with every change of the table. While it stays the same, generations that
were read before are still current: a process that needs them again reads only this number.

A change takes two locks, which the kernel releases however the process ends. The first is shared by
all processes that change the table, and lasts for the whole invalidation. The second is exclusive
and lasts while the process writes, some microseconds. If the process is stopped just then, others
remove the table. A load begins with generations that were read while no process had the first lock.
So an invalidation is either wholly before a load or wholly after it, and no value is older than the
values that it is made of (more in `beaker_regions.stores.servers.generations`). A reader only
tests the lock and does not take it, so no process waits for a reader.

The table is read by ``pread`` and is not mapped: if another program truncates a mapped file, the
process is killed. The page cache answers in under a microsecond either way.
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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from beaker_regions.engine.store import SETTLING
from beaker_regions.entries.records import GENERATION_SIZE
from beaker_regions.runtime import forking
from beaker_regions.runtime.atomic_write import open_plain, sync_folder
from beaker_regions.runtime.byte_locks import is_locked, set_lock
from beaker_regions.runtime.flock import take
from beaker_regions.runtime.interruptions import is_interruption
from beaker_regions.stores.files.birth_time import made_at

SHARED_PLACES = 1 << 12
"""Places for the scopes of regions and functions, which are few and cover many entries."""
TAG_PLACES = 1 << 19
"""Places for tags: to invalidate one, in all regions, ends no entry without tags."""
PLACES = 1 << 20
"""Places for all other scopes, of one entry each."""

_LATEST = 1
"""The place of the number that every change replaces; the epoch is before it, the others follow."""
_TAGS, _ENTRIES = 2 + SHARED_PLACES, 2 + SHARED_PLACES + TAG_PLACES
_SIZE = (_ENTRIES + PLACES) * GENERATION_SIZE
_AREAS = {**dict.fromkeys("fr", (2, SHARED_PLACES)), "t": (_TAGS, TAG_PLACES)}
_REMEMBERED = 8192
"""Sets of scopes whose places, and sets of places whose generations are remembered."""
_CHANGING, _WRITING = 0, 1
"""The bytes that are locked: the first by all processes that change the table, for the whole
invalidation; the second by one process while it writes."""
_MARK = struct.Struct("<q")
"""When the table was changed, in nanoseconds since the epoch."""
_PATIENCE = 1.0
"""Seconds to wait for a process that writes."""
_PAUSE = 0.0005
_TRIES = 5
"""Attempts, each after a table was removed, before a call gives up."""


class _OpenFile:
    """A descriptor that is closed when the last thread that uses it lets go."""

    def __init__(self, path: str) -> None:
        self.descriptor = open_plain(path, os.O_RDWR)
        found = os.fstat(self.descriptor)
        self.device, self.inode = found.st_dev, found.st_ino
        epoch = os.pread(self.descriptor, GENERATION_SIZE, 0)
        made = made_at(self.descriptor)
        digest = hashlib.blake2b(b"%d %d " % (self.inode, made) + epoch, digest_size=8).digest()
        self.identity = int.from_bytes(digest, "little")
        self.known: dict[tuple[int, ...], tuple[bytes, tuple[bytes, ...]]] = {}
        """By places: the latest change before they were read, and the generations there."""
        self.checked = -1
        """The ctime that was last found to be equal to the mark."""

    def is_being_changed(self) -> bool:
        """Return whether a process is changing the table."""
        return is_locked(self.descriptor, _CHANGING)

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
        # Read this first: the next read then notices every later change.
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
        """As `read`, but sees the change of a process that was killed before it wrote `_LATEST`."""
        file = self._opened()
        file.known.pop(places, None)
        return self._read(file, places)

    def read_settled(self, places: tuple[int, ...]) -> tuple[bytes | None, ...]:
        """As `read_uncached`, at a moment when no process changes the table: a load that begins
        after this finds no older value. Returns None for each if a change takes too long."""
        for pause in SETTLING:
            file = self._opened()
            found = self._read(file, places)
            if not file.is_being_changed():
                return found
            time.sleep(pause)
        return (None,) * len(places)

    def read_many(self, sets: Iterable[tuple[int, ...]]) -> list[tuple[bytes, ...]]:
        """Return the current generations at many sets of places, each read once. Raises OSError."""
        file = self._opened()
        read = functools.cache(functools.partial(_generation, file.descriptor))
        return [self._of_this_table(file, list(map(read, places))) for places in sets]

    def _read(self, file: _OpenFile, places: tuple[int, ...]) -> tuple[bytes, ...]:
        descriptor = file.descriptor
        return self._of_this_table(file, [_generation(descriptor, at) for at in places])

    def _of_this_table(self, file: _OpenFile, found: list[bytes]) -> tuple[bytes, ...]:
        if not all(found):
            raise OSError(f"{self._path} was cut short")
        # All generations of a record must be current, so it is enough to mix the table's identity
        # into one of them.
        own = int.from_bytes(found[0], "little") ^ file.identity
        found[0] = own.to_bytes(GENERATION_SIZE, "little")
        return tuple(found)

    def change(self, scopes: Iterable[str], during: Callable[[], None] | None = None) -> None:
        """Give ``scopes`` new generations, on disk before this returns. ``during`` is called
        before `read_settled` returns them. Raises OSError.

        Half of the eight bytes is a number that was never current, so a reader takes no lock.
        """
        at = (*places(tuple(scopes)), _LATEST)
        try:
            for _ in range(_TRIES):
                self._opened()
                if self._change(at, during):
                    return
            raise OSError(errno.EBUSY, "other processes keep writing to it", self._path)
        except OSError:
            # A full disk takes no new number, but the table can be removed: no stored record
            # matches the next table, in any process.
            with contextlib.suppress(OSError):
                os.unlink(self._path)
                sync_folder(os.path.dirname(self._path))
            raise

    def _change(self, at: tuple[int, ...], during: Callable[[], None] | None) -> bool:
        """Change the numbers ``at`` some places. Returns False if the table was replaced, or had to
        be removed."""
        # Its own descriptor: a lock does not exclude those that share the open file.
        descriptor = open_plain(self._path, os.O_RDWR)
        with forking.unshared(descriptor, _unlock):
            set_lock(descriptor, fcntl.F_RDLCK, _CHANGING)
            try:
                mark = open_plain(self._mark_path, os.O_RDWR)
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
                set_lock(descriptor, fcntl.F_UNLCK, _WRITING)
                if during is not None:
                    during()
                if not self._is_in_place(descriptor):
                    # A value loaded under the new table may be made of values ended by ``during``.
                    return False
                _unlock(descriptor)
                # With its ctime, or after a loss of power no stored record would match.
                os.fsync(descriptor)
                os.fdatasync(mark)
            finally:
                os.close(mark)
        return True

    def _opened(self) -> _OpenFile:
        # The file may be removed, replaced or truncated at any time, and other processes then use
        # another file: check each time which file it is.
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return self._opened_again()
        file = self._file
        # With its ctime, its size is the same, too.
        if (
            file is not None
            and found.st_ctime_ns == file.checked
            and found.st_ino == file.inode
            and found.st_dev == file.device
        ):
            return file
        return self._opened_again()

    def _opened_again(self) -> _OpenFile:
        for _ in range(_TRIES):
            file = self._file
            try:
                found = os.stat(self._path)
                if found.st_size != _SIZE:
                    self._replace_damaged()
                    found = os.stat(self._path)
                if file is None or file.inode != found.st_ino or file.device != found.st_dev:
                    file = self._file = _OpenFile(self._path)
            except FileNotFoundError:
                # A link never replaces: of several processes that make the table, one wins.
                self._make(os.link)
                continue
            if found.st_ctime_ns == file.checked or self._is_marked(file):
                return file
            self._remove(file.descriptor)
        raise OSError(errno.EBUSY, "another program keeps changing it", self._path)

    def _is_marked(self, file: _OpenFile) -> bool:
        """Return whether the latest change is ours, or one of our processes is writing."""
        before = self._mark()
        # A process that writes has the lock until there is a mark. So if the lock is free at both
        # times, and the mark is the same, no process of ours has written in between.
        was_locked = is_locked(file.descriptor, _WRITING)
        changed = _changed(file.descriptor)
        if before == changed:
            file.checked = changed
            return True
        if was_locked or is_locked(file.descriptor, _WRITING):
            return True
        return before != self._mark()

    def _mark(self) -> int | None:
        """Return the time in the mark; None if there is no mark."""
        try:
            with open(self._mark_path, "rb", opener=open_plain) as mark:
                return _marked(mark.fileno())
        except OSError:
            return None

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

    def _replace_damaged(self) -> None:
        """Put a new table in the place of a damaged one, unless another process has done so: values
        may be stored under its table by now."""
        folder = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY)
        with forking.unshared(folder):
            take(folder, fcntl.LOCK_EX, time.monotonic() + _PATIENCE)
            if os.stat(self._path).st_size != _SIZE:
                self._make(os.replace)

    def _make(self, publish: Callable[[str, str], None]) -> None:
        with _new_file(self._path) as (descriptor, temporary):
            # While this lock is held, no process checks the mark.
            set_lock(descriptor, fcntl.F_WRLCK, _WRITING)
            os.write(descriptor, os.urandom(GENERATION_SIZE))
            _reserve(descriptor)
            os.fsync(descriptor)
            with contextlib.suppress(FileExistsError):
                publish(temporary, self._path)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
                self._make_mark(_changed(descriptor))

    def _make_mark(self, changed: int) -> None:
        with _new_file(self._mark_path) as (descriptor, temporary):
            os.write(descriptor, _MARK.pack(changed))
            os.fsync(descriptor)
            os.replace(temporary, self._mark_path)


@contextlib.contextmanager
def _new_file(path: str) -> Iterator[tuple[int, str]]:
    """Yield the descriptor and the path of a new file beside ``path``. It is removed unless it was
    renamed."""
    folder, name = os.path.split(path)
    temporary = f"{folder}/.{name}.{os.urandom(8).hex()}"
    descriptor = open_plain(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    with forking.unshared(descriptor, _unlock):
        try:
            yield descriptor, temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _reserve(descriptor: int) -> None:
    """Give a new table its size, and room for all of it: a full disk then takes changes, too."""
    try:
        os.posix_fallocate(descriptor, 0, _SIZE)
    except OSError as error:
        if is_interruption(error):
            raise
        # There is not so much room, or the file system does not know this.
        os.ftruncate(descriptor, GENERATION_SIZE)
        os.ftruncate(descriptor, _SIZE)


def _generation(descriptor: int, place: int) -> bytes:
    return os.pread(descriptor, GENERATION_SIZE, place * GENERATION_SIZE)


def _changed(descriptor: int) -> int:
    return os.fstat(descriptor).st_ctime_ns


def _marked(descriptor: int) -> int | None:
    """Return the time in a mark; None if it is damaged."""
    found = os.pread(descriptor, _MARK.size, 0)
    return _MARK.unpack(found)[0] if len(found) == _MARK.size else None


def _lock_out(descriptor: int) -> bool:
    """Lock all others out from writing. Returns False if another process does not finish."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            set_lock(descriptor, fcntl.F_WRLCK, _WRITING)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE * random.uniform(0.1, 1.0))


def _unlock(descriptor: int) -> None:
    set_lock(descriptor, fcntl.F_UNLCK, _CHANGING, 2)


@functools.lru_cache(_REMEMBERED)
def places(scopes: tuple[str, ...]) -> tuple[int, ...]:
    """Return where in a table the generations of ``scopes`` are; each is below 2**32."""
    return tuple([_place(scope) for scope in scopes])


def _place(scope: str) -> int:
    first, count = _AREAS.get(scope[0], (_ENTRIES, PLACES))
    return first + zlib.crc32(scope.encode()) % count
