"""Why calls missed: what is known, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from beaker_regions import CacheManager
from beaker_regions.engine import bypass
from beaker_regions.reports import metrics
from beaker_regions.reports.metrics import Activity
from beaker_regions.stores.files import layout
from beaker_regions.stores.files.store import FileStore
from beaker_regions.telemetry import load_memory
from tests.beaker_regions.conftest import Manager
from tests.servers import Memcached


def missed(cache: CacheManager) -> dict[str, int]:
    return {
        reason: number
        for each in metrics.activities(cache["functions"].stats.counted())
        for reason, number in each.missed
    }


def decorated(cache: CacheManager, **options: Any) -> Any:
    @cache.region("functions", **options)
    def square(number: int) -> int:
        return number * number

    return square


def test_the_reasons_of_misses(file_manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = file_manager(expire=60)
    square = decorated(cache, tags=["number:{number}"], store_if=lambda value: value != 9)
    square(1)
    square(1)
    square(2)
    assert missed(cache) == {"first": 2}
    square.invalidate(1)
    square(1)
    cache.invalidate_tags("number:2")
    square(2)
    assert missed(cache) == {"first": 2, "invalidated": 2}
    square(3)
    square(3)
    assert missed(cache) == {"first": 3, "invalidated": 2, "not_stored": 1}
    now = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: now)
    square(1)
    assert missed(cache) == {"first": 3, "invalidated": 2, "not_stored": 1, "expired": 1}
    with cache.deferred_invalidation():
        square.invalidate(1)
        square(1)
    assert missed(cache)["bypassed"] == 1


def test_an_entry_that_is_gone_was_evicted_expired_or_invalidated(
    file_manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = file_manager(expire=60)
    square = decorated(cache)
    store = cache["functions"].store
    assert isinstance(store, FileStore)

    def lose() -> None:
        for found in list(layout.stored(store)):
            layout.remove(store, found)

    square(1)
    lose()
    square(1)
    assert missed(cache) == {"first": 1, "evicted": 1}
    square.invalidate(1)
    lose()  # as maintenance does
    square(1)
    assert missed(cache) == {"first": 1, "evicted": 1, "invalidated": 1}
    now = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: now)
    lose()
    square(1)
    assert missed(cache) == {"first": 1, "evicted": 1, "invalidated": 1, "expired": 1}


def test_another_process_remembers_too(file_manager: Manager) -> None:
    square = decorated(file_manager())
    square(1)
    other = file_manager()  # as in another process: it has none of the first one's objects
    other["functions"].stats.loads = load_memory.LoadMemory(other["functions"].metrics)
    address = square.entry(1).address
    found = other["functions"].stats.loads.last(address)
    assert found is not None
    assert found.at is not None
    folder = other["functions"].metrics
    assert folder is not None
    (folder / "loads").write_bytes(b"damaged")
    assert load_memory.LoadMemory(folder).last(address) is None


def test_an_entry_in_the_place_of_another_has_no_reason(
    file_manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_memory, "PLACES", 1)
    cache = file_manager()
    square = decorated(cache)
    square(1)
    square(2)
    assert missed(cache) == {"first": 1, "unknown": 1}


def test_a_server_that_lost_everything_has_evicted_it(
    memcached_manager: Manager, memcached: Memcached
) -> None:
    cache = memcached_manager()
    square = decorated(cache)
    square(1)
    memcached.flush()
    square(1)
    square.invalidate(1)
    square(1)
    assert missed(cache) == {"first": 1, "evicted": 1, "invalidated": 1}


def test_a_bypass_is_no_other_reason(file_manager: Manager) -> None:
    cache = file_manager()
    square = decorated(cache)
    square(1)
    with bypass.bypassed():
        square(1)
    assert missed(cache) == {"first": 1, "bypassed": 1}


# -- invalidations by tag --------------------------------------------------------------------


def found(cache: CacheManager, function: Callable[..., Any]) -> Activity:
    done = metrics.activities(cache["functions"].stats.counted())
    return metrics.activity(done, "functions", getattr(function, "name", ""))


def test_invalidations_of_a_tag_count_for_the_functions_that_have_it(
    file_manager: Manager,
) -> None:
    cache = file_manager()

    @cache.region("functions", tags=["list:{number}", "all"])
    def by_template(number: int) -> int:
        return number

    @cache.region("functions", tags=lambda number: [f"list:{number}"])
    def by_function(number: int) -> int:
        return number

    @cache.region("functions", tags=["other:{number}"])
    def other(number: int) -> int:
        return number

    by_function(1)
    cache.invalidate_tags("list:7", "all")
    cache.invalidate_tags("nobody's")
    with cache.deferred_invalidation():
        cache.invalidate_tags("list:7")
        cache.invalidate_tags("list:8")
    assert found(cache, by_template).tag_invalidations == 2
    assert found(cache, by_function).tag_invalidations == 2
    assert found(cache, other).tag_invalidations == 0
    region = next(
        each for each in metrics.activities(cache["functions"].stats.counted()) if not each.function
    )
    assert region.invalidations == 3
