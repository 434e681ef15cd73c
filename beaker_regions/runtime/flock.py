"""Locks among the threads and processes of one host: one file each, of which there are few.

Each lock opens its file anew, so that threads exclude each other as processes do (``flock`` locks
the open file), and gives it back by name, so that a child forked meanwhile cannot keep it
(`beaker_regions.runtime.forking`). The kernel gives it back when its holder dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import time
from typing import TYPE_CHECKING

from beaker_regions.runtime import forking

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 2.0
"""Seconds to wait for a holder; all hold a lock for less than a thousandth of that, unless one
was stopped."""
_PAUSE = 0.001


@contextlib.contextmanager
def locked(path: str, longest: float = LONGEST) -> Iterator[int]:
    """Yield the descriptor of the file at ``path``, made if it is missing, while nobody else has
    it. Raises OSError, a TimeoutError after ``longest`` seconds."""
    deadline = time.monotonic() + longest
    while True:
        descriptor = _opened(path)
        with forking.unshared(descriptor):
            take(descriptor, fcntl.LOCK_EX, deadline)
            # Removed in the meantime, it would lock nobody else out.
            if _is_at(descriptor, path):
                yield descriptor
                return


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _opened(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o660)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o660)


def take(descriptor: int, how: int, deadline: float) -> None:
    """Lock an open file, ``how`` as for `fcntl.flock`; wait until ``deadline``, of the monotonic
    clock, in seconds. Raises OSError, a TimeoutError when it is over."""
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError("whoever has its lock does not give it back") from None
            time.sleep(_PAUSE * random.uniform(0.1, 1.0))
