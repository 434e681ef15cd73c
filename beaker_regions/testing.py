"""For the tests of applications: empty regions, and assertions about hits and loads."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from beaker_regions.config import isolation
from beaker_regions.config.isolation import isolate
from beaker_regions.engine.bypass import bypassed
from beaker_regions.engine.expiring_set import ExpiringSet
from beaker_regions.engine.region import Region, all_regions
from beaker_regions.entries.entry import region_scope
from beaker_regions.stores.opening import forget_store, open_store

__all__ = ["as_configured", "assert_hits", "assert_loads", "bypassed", "fresh", "isolate"]


def fresh() -> None:
    """Empty every isolated region of this process: entries, values and counters.

    The pytest plugin and ``manage.py test`` call it before each test. It does not touch regions
    that a test has made within `as_configured`.

    Example::

        fresh()
        with assert_loads(1):
            tasks_of(1)
    """
    former = isolation.folder()
    now = isolation.next_folder()
    if former is None or now is None:
        return
    for region in all_regions():
        data_dir = region.options.data_dir
        if data_dir is not None and data_dir.is_relative_to(former.parent):
            _empty(region, now)


def _empty(region: Region, folder: Path) -> None:
    former = region.store
    folder.mkdir(0o700, parents=True, exist_ok=True)
    region.options = replace(region.options, data_dir=folder, secret=(folder.name,))
    store = open_store(region.options)
    store.generation_store.cover(region_scope(region.name))
    limit, next_limit = getattr(former, "size_limit", None), getattr(store, "size_limit", None)
    if limit is not None and next_limit is not None:
        next_limit.evicted = limit.evicted
    region.store = store
    region.not_stored, region.failed = ExpiringSet(), ExpiringSet()
    forget_store(former)


@contextmanager
def as_configured() -> Iterator[None]:
    """Make managers in this block exactly as they are configured, and not isolated.

    It is for a test that makes a manager of its own, in a folder of its own. It holds for the
    processes that the test starts, too.

    Example::

        with as_configured():
            cache = CacheManager(**parse_cache_config_options(options))
    """
    former = os.environ.get(isolation.VARIABLE)
    os.environ[isolation.VARIABLE] = ""
    try:
        yield
    finally:
        os.environ.pop(isolation.VARIABLE)
        if former is not None:
            os.environ[isolation.VARIABLE] = former


def assert_hits(number: int) -> AbstractContextManager[None]:
    """Assert that this number of calls in the block find a stored value, in all regions together.

    Args:
        number: The expected number of hits, in this process.

    Returns:
        A context manager.

    Raises:
        AssertionError: Another number was counted. Raised at the end of the block.

    Example::

        with assert_hits(1):
            tasks_of(1)
    """
    return _asserting("hits", number)


def assert_loads(number: int) -> AbstractContextManager[None]:
    """Assert that cached functions, pages and fragments are computed this number of times.

    Args:
        number: The expected number of loads, in this process.

    Returns:
        A context manager.

    Raises:
        AssertionError: Another number was counted. Raised at the end of the block.

    Example::

        with assert_loads(0):
            tasks_of(1)
    """
    return _asserting("loads", number)


@contextmanager
def _asserting(event: str, number: int) -> Iterator[None]:
    before = _counted(event)
    yield
    found = _counted(event) - before
    shown = ", ".join(f"{name}: {times}" for name, times in sorted(found.items())) or "none"
    total = found.total()
    assert total == number, f"{total} {event} where {number} were expected ({shown})"


def _counted(event: str) -> Counter[str]:
    """Return the number of an event in this process, by function."""
    counted: Counter[str] = Counter()
    for region in all_regions():
        for name, number in region.stats.counted().items():
            if name.event == event:
                counted[name.function] += number
    return counted
