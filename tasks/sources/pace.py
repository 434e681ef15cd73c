"""The limit of the bytes that are read a second, by all jobs of an import together."""

from __future__ import annotations

import time
from multiprocessing import get_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_STEP = 0.1
"""Seconds between two checks whether the run has ended."""
_SHORTEST = 1024


class Pace:
    """A limit, which processes that are forked from this one share."""

    def __init__(self, rate: int) -> None:
        """Allow ``rate`` bytes a second."""
        self._rate = rate
        # When everything that was read until now would have been read at this rate.
        self._due = get_context("fork").Value("d", 0.0)

    @property
    def most(self) -> int:
        """Bytes to read at once: what takes a quarter of a second. No server waits for longer."""
        return max(_SHORTEST, self._rate // 4)

    def wait(self, size: int, check: Callable[[], None]) -> None:
        """Wait for as long as ``size`` bytes, which were read, may take. Raises the errors of
        ``check``."""
        lock = self._due.get_lock()
        # A process may have been killed with the lock.
        is_locked = lock.acquire(timeout=1.0)
        try:
            due = max(self._due.value, time.monotonic()) + size / self._rate
            self._due.value = due
        finally:
            if is_locked:
                lock.release()
        while (left := due - time.monotonic()) > 0:
            check()
            time.sleep(min(left, _STEP))


_pace: Pace | None = None


def use_pace(rate: int | None) -> None:
    """Allow ``rate`` bytes a second from now on, in this process and those that are forked from it.
    None: as many as there are."""
    global _pace
    _pace = None if rate is None else Pace(rate)


def is_limited() -> bool:
    """Whether there is a limit."""
    return _pace is not None


def keep_pace(size: int, check: Callable[[], None]) -> None:
    """Wait after ``size`` bytes were read, if there is a limit. Raises the errors of ``check``."""
    if _pace is not None:
        _pace.wait(size, check)


def at_once(most: int) -> int:
    """Return how many bytes, ``most`` at most, to read at once."""
    return most if _pace is None else min(most, _pace.most)
