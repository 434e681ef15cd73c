"""Leases among the processes of one host: byte ranges of one lock file.

A caller that takes an entry's lease writes a random number, its turn, into the entry's slot of the
file. It then locks the byte at the offset that the turn gives. The lease is held while that byte is
locked: the kernel releases it if the holder dies, however it dies. If a lease is taken over from a
live holder, the slot gets another turn, and the holder's lock has no effect any more. Two entries
with the same slot overwrite each other's turns. This only costs a second load.

These locks (POSIX ``fcntl``) belong to processes. `FileLeases` keeps the turns that threads of this
process hold.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import threading
from pathlib import Path

from beaker_regions.engine.store import MOST_LEVEL, Lease
from beaker_regions.entries.records import TURN_SIZE
from beaker_regions.runtime import forking
from beaker_regions.runtime.atomic_write import open_plain

_TAKEN = {errno.EACCES, errno.EAGAIN}
_SLOTS = 1 << 16
_SLOT = struct.Struct(f"<7sB{TURN_SIZE}s")
"""The start of the entry's address, the level, and the turn."""
_TURNS = 1 << 62
"""Offsets below this are locks of turns, offsets from here on are locks of slots."""
_LOCK = struct.Struct("hhqqi4x")
"""Linux's ``struct flock`` (fcntl(2)): type, whence, start, length, process."""


class FileLeases:
    """At most one holder, thread or process, for each entry."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self.after_fork()
        forking.register(self)

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def after_fork(self) -> None:
        """Hold no lease: a forked child has none of its parent's locks."""
        self._lock = threading.Lock()
        self._held: set[bytes] = set()

    def acquire(self, address: bytes, over: bytes = b"") -> Lease:
        """Take the lease of ``address`` if it is free, or if its turn is ``over``, without waiting.
        Returns the lease that is held now. Raises OSError."""
        number = int.from_bytes(address[-4:], "little") % _SLOTS
        with self._lock:
            descriptor = self._opened()
            if not _lock(descriptor, _TURNS + number):
                return Lease(b"")  # another process is changing this slot
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
        # On a full disk the turn is not written, and others load as well.
        with contextlib.suppress(OSError):
            os.pwrite(descriptor, _SLOT.pack(own, level, turn), at)
        _lock(descriptor, _offset(turn))
        self._held.add(turn)
        return Lease(turn, level, mine=True)

    def _is_held(self, descriptor: int, turn: bytes) -> bool:
        if turn in self._held:
            return True
        # Test the lock, do not try to take it: a process always gets its own lock.
        asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _offset(turn), 1, 0)
        found: int = _LOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))[0]
        return found != fcntl.F_UNLCK

    def release(self, lease: Lease) -> None:
        """Give a lease back. Raises OSError."""
        with self._lock:
            self._held.discard(lease.turn)
            if self._descriptor is not None:
                _unlock(self._descriptor, _offset(lease.turn))

    def _opened(self) -> int:
        # If the file was removed, other processes lock another file by now. Locks in the removed
        # file exclude only this process's threads.
        if self._descriptor is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._descriptor), os.stat(self._path)):
                    return self._descriptor
            os.close(self._descriptor)
            self._descriptor = None
        self._descriptor = open_plain(self._path, os.O_RDWR | os.O_CREAT)
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
