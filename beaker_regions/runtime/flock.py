"""Locks among the threads and processes of one host: one file for each lock.

Each time a lock is taken, its file is opened again. So threads exclude each other as processes do:
``flock`` locks the open file. It is unlocked explicitly, so that a child that was forked in between
cannot keep it (`beaker_regions.runtime.forking`). The kernel unlocks it if its holder dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import time
from collections.abc import Iterator

from beaker_regions.runtime import forking
from beaker_regions.runtime.atomic_write import open_plain

LONGEST = 2.0
"""Seconds to wait for the holder. A holder needs less than a thousandth of that, unless it was
stopped."""
_PAUSE = 0.001


@contextlib.contextmanager
def locked(path: str, longest: float = LONGEST) -> Iterator[int]:
    """Lock the file at ``path`` and yield its descriptor. The file is made if it is missing. Raises
    OSError, and TimeoutError after ``longest`` seconds."""
    deadline = time.monotonic() + longest
    while True:
        descriptor = open_plain(path, os.O_RDWR | os.O_CREAT)
        with forking.unshared(descriptor):
            take(descriptor, fcntl.LOCK_EX, deadline)
            # If the file was removed in between, its lock excludes no other process.
            if _is_at(descriptor, path):
                yield descriptor
                return


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def take(descriptor: int, how: int, deadline: float) -> None:
    """Lock an open file, ``how`` as for `fcntl.flock`. Wait until ``deadline``, in seconds of the
    monotonic clock. Raises OSError, and TimeoutError at the deadline."""
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    "another process holds the lock, and does not give it back"
                ) from None
            time.sleep(_PAUSE * random.uniform(0.1, 1.0))
