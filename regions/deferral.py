"""Bulk changes: invalidations collected in a block, and delivered once, at its end."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Set

    from regions.region import Region

_collected: ContextVar[dict[Region, set[str]] | None] = ContextVar("_collected", default=None)


@contextmanager
def deferred_invalidation() -> Iterator[None]:
    """Collect the invalidations of this thread or task until the outermost such block ends,
    however it ends: a bulk change that failed half way has changed something."""
    if _collected.get() is not None:
        yield
        return
    collected: dict[Region, set[str]] = {}
    token = _collected.set(collected)
    try:
        yield
    finally:
        _collected.reset(token)
        for region, scopes in collected.items():
            region.invalidate(frozenset(scopes), f"a bulk change, {len(scopes)} at once")


def collect(region: Region, scopes: Set[str]) -> bool:
    """Keep an invalidation for the end of the block. Returns False outside of any."""
    collected = _collected.get()
    if collected is None:
        return False
    collected.setdefault(region, set()).update(scopes)
    return True


def collected() -> frozenset[str]:
    """Return the scopes whose invalidation waits for the end of the block."""
    waiting = _collected.get()
    return frozenset().union(*waiting.values()) if waiting else frozenset()
