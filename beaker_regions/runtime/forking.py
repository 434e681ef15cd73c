"""What a forked child must not have of its parent: locks that another thread of it has.

A fork copies a lock of Python's as it is: one that is taken at that moment would never be given
back in the child. And it copies descriptors: a lock of a file belongs to all of its descriptors
(``flock``, ``F_OFD_SETLK``), so it would last as long as the child does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Forked(Protocol):
    """What has something to do in a child."""

    def after_fork(self) -> None:
        """Begin anew: nothing is taken that another thread of the parent had."""


_forked: WeakSet[Forked] = WeakSet()
_locked: set[int] = set()


def tell(each: Forked) -> None:
    """Call the ``after_fork`` of an object in each child that is forked while it lives."""
    _forked.add(each)


def _unlock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def unshared(descriptor: int, unlock: Callable[[int], None] = _unlock) -> Iterator[None]:
    """Let a descriptor be locked in this block, at whose end it is unlocked (``flock``, unless
    ``unlock`` says how) and closed. A child that another thread forks meanwhile closes it at
    once."""
    _locked.add(descriptor)
    try:
        yield
    finally:
        # In a child that was forked within the block it is closed.
        if descriptor in _locked:
            _locked.discard(descriptor)
            try:
                # Closing is not enough where a child has not come to close it yet.
                unlock(descriptor)
            finally:
                os.close(descriptor)


def _after_fork() -> None:
    for descriptor in _locked:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _locked.clear()
    for each in list(_forked):
        each.after_fork()


os.register_at_fork(after_in_child=_after_fork)
