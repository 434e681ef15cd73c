"""Locks of single bytes of an open file, among the threads and processes of one host.

They are Linux's open file description locks (fcntl(2)): like those of ``flock`` they belong to the
open file, and the kernel releases them however its process ends. But a file has one for each byte,
and a process can ask for one without taking it.
"""

from __future__ import annotations

import fcntl
import os
import struct

_LOCK = struct.Struct("hhqqi4x")
"""Linux's ``struct flock``: type, whence, start, length, process."""


def set_lock(descriptor: int, type_: int, first: int, count: int = 1) -> None:
    """Lock or unlock ``count`` bytes from ``first`` on. Never waits.

    ``type_``: ``fcntl.F_RDLCK`` (shared), ``F_WRLCK`` (exclusive) or ``F_UNLCK``. Raises
    BlockingIOError if another open file has a lock that excludes this one, and OSError.
    """
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _packed(type_, first, count))


def is_locked(descriptor: int, byte: int) -> bool:
    """Return whether a byte is locked through another open file. Raises OSError."""
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _packed(fcntl.F_WRLCK, byte, 1))
    return bool(_LOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def _packed(type_: int, first: int, count: int) -> bytes:
    return _LOCK.pack(type_, os.SEEK_SET, first, count, 0)
