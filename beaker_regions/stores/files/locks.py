"""Leases among the processes of one host: byte ranges of one lock file.

Who takes an entry's lease writes its turn into the entry's slot of the file, and locks the byte at
the offset that the turn gives. A lease counts while that byte is locked: the kernel gives it back
when its holder dies, however it dies. A lease that is taken over from a holder that lives has
another turn, so the holder's lock means nothing any more. Two entries with the same slot write over
each other's turns, which costs a second load and nothing else.

Locks of this kind (POSIX ``fcntl``) belong to processes; threads of one process tell theirs apart
here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import threading
from typing import TYPE_CHECKING

from beaker_regions.engine.store import MOST_LEVEL, Lease
from beaker_regions.entries.records import TURN_SIZE
from beaker_regions.runtime import forking

if TYPE_CHECKING:
    from pathlib import Path

_TAKEN = {errno.EACCES, errno.EAGAIN}
_SLOTS = 1 << 16
_SLOT = struct.Struct(f"<7sB{TURN_SIZE}s")
"""What tells the entry from others with its slot, the level, and the turn."""
_TURNS = 1 << 62
"""Below are the bytes that stand for turns, from here on those that stand for slots."""
_LOCK = struct.Struct("hhqqi4x")
"""Linux's ``struct flock`` (fcntl(2)): type, whence, start, length, process."""


class FileLeases:
    """At most one holder, thread or process, for each entry."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self.after_fork()
        forking.tell(self)

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def after_fork(self) -> None:
        """Hold nothing, as a forked child, which has none of its parent's locks."""
        self._lock = threading.Lock()
        self._held: set[bytes] = set()

    def acquire(self, address: bytes, over: bytes = b"") -> Lease:
        """Take the lease of ``address`` if it is free, or of the turn ``over``, without waiting.
        Returns whose it is. Raises OSError."""
        number = int.from_bytes(address[-4:], "little") % _SLOTS
        with self._lock:
            descriptor = self._opened()
            if not _lock(descriptor, _TURNS + number):
                return Lease(b"")  # another process is at the same slot at this moment
            try:
                return self._take(descriptor, number * _SLOT.size, address[:7], over)
            finally:
                _unlock(descriptor, _TURNS + number)

    def _take(self, descriptor: int, at: int, own: bytes, over: bytes) -> Lease:
        level, found = 0, os.pread(descriptor, _SLOT.size, at)
        if len(found) == _SLOT.size:
            whose, former, turn = _SLOT.unpack(found)
            if whose == own and self._is_held(descriptor, turn):
                if turn != over:
                    return Lease(turn, min(former, MOST_LEVEL))
                level = min(former + 1, MOST_LEVEL)
        turn = os.urandom(TURN_SIZE)
        # On a full disk nobody is told of it, and others load as well.
        with contextlib.suppress(OSError):
            os.pwrite(descriptor, _SLOT.pack(own, level, turn), at)
        _lock(descriptor, _offset(turn))
        self._held.add(turn)
        return Lease(turn, level, mine=True)

    def _is_held(self, descriptor: int, turn: bytes) -> bool:
        if turn in self._held:
            return True
        # Asked, not tried: locks of this kind do not tell a process from itself.
        asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _offset(turn), 1, 0)
        told: int = _LOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))[0]
        return told != fcntl.F_UNLCK

    def release(self, lease: Lease) -> None:
        """Give a lease back. Raises OSError."""
        with self._lock:
            self._held.discard(lease.turn)
            if self._descriptor is not None:
                _unlock(self._descriptor, _offset(lease.turn))

    def _opened(self) -> int:
        # When the file was removed, others lock another one by now: what is held in the removed
        # one binds nobody but this process.
        if self._descriptor is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._descriptor), os.stat(self._path)):
                    return self._descriptor
            os.close(self._descriptor)
            self._descriptor = None
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, flags, 0o660)
        return self._descriptor


def _offset(turn: bytes) -> int:
    return int.from_bytes(turn, "little") >> 2


def _lock(descriptor: int, offset: int) -> bool:
    """Lock a byte, without waiting; return whether no other process has it."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True


def _unlock(descriptor: int, offset: int) -> None:
    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, offset)
