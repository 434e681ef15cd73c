"""Waiting for a state on a machine that is busy with other things.

A process may get a tenth of a core for seconds. So nothing happens "soon": what a test waits for
has a deadline that only a hang exceeds, and after a fault a value is stored by one of the next
loads, not by a certain one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds; what takes longer hangs."""


def until(condition: Callable[[], object], failure: str = "it does not happen") -> None:
    """Wait until a condition holds."""
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, failure
        time.sleep(0.01)


def stored_value(read: Callable[[], T]) -> T:
    """Read until two values in a row are the same one, whose every load gives another, and return
    it. After a fault a server may be left alone for a while, and do late what it was asked."""
    values: list[T] = []

    def is_stored() -> bool:
        values[:] = [read(), read()]
        return values[0] == values[1]

    until(is_stored, "no value is stored")
    return values[0]
