"""Leases among the processes of one host: byte ranges of one lock file.

Each entry has the byte at an offset that its address gives, so any number of entries share one
file of no size. The kernel gives a lease back when its holder dies, however it dies. Locks of
this kind (POSIX ``fcntl``) belong to processes; threads of one process tell theirs apart here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from pathlib import Path

_TAKEN = {errno.EACCES, errno.EAGAIN}


_all: WeakSet[FileLeases] = WeakSet()


class FileLeases:
    """At most one holder, thread or process, for each of 2**62 numbers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self.reset()
        _all.add(self)

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def reset(self) -> None:
        """Hold nothing, as a forked child, which has none of its parent's locks."""
        self._lock = threading.Lock()
        self._held: set[int] = set()

    def acquire(self, address: bytes) -> bool:
        """Take the lease of ``address`` if it is free, without waiting. Raises OSError."""
        offset = _offset(address)
        with self._lock:
            if offset in self._held:
                return False
            try:
                fcntl.lockf(self._opened(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
            except OSError as error:
                if error.errno in _TAKEN:
                    return False
                raise
            self._held.add(offset)
            return True

    def release(self, address: bytes) -> None:
        """Give the lease of ``address`` back. Raises OSError."""
        offset = _offset(address)
        with self._lock:
            self._held.discard(offset)
            if self._descriptor is not None:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, offset)

    def _opened(self) -> int:
        # When the file was removed, others lock another one by now: what is held in the removed
        # one binds nobody but this process.
        if self._descriptor is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._descriptor), os.stat(self._path)):
                    return self._descriptor
            os.close(self._descriptor)
            self._descriptor = None
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, flags, 0o600)
        return self._descriptor


def _offset(address: bytes) -> int:
    return int.from_bytes(address[:8], "little") >> 2


def _after_fork() -> None:
    for leases in list(_all):
        leases.reset()


os.register_at_fork(after_in_child=_after_fork)
