"""A block in which functions run as if nothing were stored."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Block:
    """One such block. What was begun in it and outlives it goes on as everybody else."""

    def __init__(self) -> None:
        self.is_open = True


block: ContextVar[_Block | None] = ContextVar("block", default=None)
"""The block that this thread or task is in, or was when it began; None: never in one."""


@contextmanager
def bypassed() -> Iterator[None]:
    """Let no result that is stored be used, and none be stored, by this thread or task."""
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
