"""Entries of calls that are remembered, and are forgotten when the meaning of arguments changes."""

from __future__ import annotations

import weakref
from typing import Any, Protocol


class Clearable(Protocol):
    """Results of a function that are remembered: `functools.lru_cache` made it."""

    def cache_clear(self) -> None: ...


_clearable: weakref.WeakSet[Any] = weakref.WeakSet()


def clear_at_change(remembered: Clearable) -> None:
    """Clear ``remembered`` whenever a type gets a key, or the families of tags change."""
    _clearable.add(remembered)


def clear() -> None:
    for remembered in list(_clearable):
        remembered.cache_clear()
