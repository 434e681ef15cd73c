"""A block in which functions are called as if nothing was stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class _Block:
    """One such block. Threads and tasks that began in it and outlive it are no longer bypassed."""

    def __init__(self) -> None:
        self.is_open = True


block: ContextVar[_Block | None] = ContextVar("block", default=None)
"""The block that this thread or task is in, or began in; None: none."""


@contextmanager
def bypassed() -> Iterator[None]:
    """In this block, this thread or task uses no stored results, and stores none."""
    here = _Block()
    token = block.set(here)
    try:
        yield
    finally:
        here.is_open = False
        block.reset(token)


def is_bypassed() -> bool:
    """Whether this thread or task is in such a block."""
    here = block.get()
    return here is not None and here.is_open
