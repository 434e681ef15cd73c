"""Forks: a child must not inherit the locks that the parent's other threads hold.

A fork copies Python's locks in their present state: a lock that is held at that moment would never
be released in the child. It also copies descriptors. A file's lock belongs to all descriptors of
the open file (``flock``, ``F_OFD_SETLK``), so it would last as long as the child.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """An object that has to be reset in a child."""

    def after_fork(self) -> None:
        """Reset: replace locks that another thread of the parent may have held."""


_forked: WeakSet[Forked] = WeakSet()
_locked: set[int] = set()


def register(each: Forked) -> None:
    """Call the ``after_fork`` of an object in each child that is forked while it lives."""
    _forked.add(each)


def _unlock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def unshared(descriptor: int, unlock: Callable[[int], None] = _unlock) -> Iterator[None]:
    """At the end of this block, unlock a descriptor, by ``unlock``, and close it. If another thread
    forks within the block, the child closes it at once."""
    _locked.add(descriptor)
    try:
        yield
    finally:
        # In a child that was forked within the block it is closed.
        if descriptor in _locked:
            _locked.discard(descriptor)
            try:
                # Closing is not enough if a child has not closed its copy yet.
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
