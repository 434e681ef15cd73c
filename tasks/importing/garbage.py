"""The garbage collector of a process that goes through many files."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEW = 10_000
"""Objects after which Python looks for cycles among them; its own number is 700."""


@contextlib.contextmanager
def rarely_collected() -> Iterator[None]:
    """Within this block, the garbage collector passes over the objects that are there now, and
    looks through new ones less often. A run makes few cycles, and its collections would take a
    twentieth of the processor time of a first import, and an eighth of that of a second one."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_NEW, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
