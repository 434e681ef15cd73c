"""Entries in the types that Beaker itself brings, and what they promise here."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from regions import CacheManager
from tests.regions.children import fork, statuses
from tests.regions.conftest import Calls, Manager, make_manager

if TYPE_CHECKING:
    from pathlib import Path

LONG = 60.0
"""Seconds; longer than any test."""


@pytest.fixture(params=["memory", "dbm"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Manager:
    return lambda **options: make_manager(
        type=request.param, data_dir=tmp_path, secret=f"of {tmp_path}", **options
    )


@pytest.fixture
def cache(manager: Manager) -> CacheManager:
    return manager()


def test_hits_and_every_kind_of_invalidation(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions", tags=["number:{number}"])
    def load(number: int) -> int:
        return calls()

    assert (load(1), load(2), load(1), load(2)) == (1, 2, 1, 2)
    load.invalidate(1)
    assert (load(1), load(2)) == (3, 2)
    cache.invalidate_tags("number:2")
    assert (load(1), load(2)) == (3, 4)
    load.invalidate_all()
    assert (load(1), load(2)) == (5, 6)
    cache.invalidate_region("functions")
    assert (load(1), load(2), load.peek(2)) == (7, 8, 8)
    assert load.refresh(1) == load(1) == 9


def test_threads_that_call_at_once_load_once(cache: CacheManager, calls: Calls) -> None:
    start = threading.Barrier(8)

    @cache.region("functions")
    def load() -> int:
        return calls()

    def call(_: int) -> int:
        start.wait()
        return load()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(call, range(8))) == [1] * 8


def test_a_child_forked_during_a_load_does_not_wait_for_ever(
    manager: Manager, calls: Calls
) -> None:
    cache = manager(lease=0.1)
    loading, proceed = threading.Event(), threading.Event()

    @cache.region("functions")
    def load() -> int:
        if calls() == 1:
            loading.set()
            assert proceed.wait(LONG)
        return calls.count

    def call() -> None:
        assert load() == 2
        load.invalidate()
        before = cache["functions"].stats["waits"]
        assert load() == 3
        assert cache["functions"].stats["waits"] == before, "a lease that ran out is nobody's"

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(load)
        assert loading.wait(LONG)
        ended = statuses([fork(call)])
        proceed.set()
        assert ended == [0]
        assert first.result() == 1


def test_a_backend_that_fails_is_not_the_callers_failure(tmp_path: Path, calls: Calls) -> None:
    data = tmp_path / "data"
    cache = make_manager(type="dbm", data_dir=data, secret="of the tests")

    @cache.region("functions")
    def load() -> int:
        return calls()

    assert (load(), load()) == (1, 1)
    os.rename(data, tmp_path / "away")
    data.write_text("in the way")
    assert (load(), load()) == (2, 3)
    load.invalidate()
    assert load.refresh() == 4
    assert cache["functions"].stats["failed.backend"] > 0
    data.unlink()
    os.rename(tmp_path / "away", data)
    assert (load(), load()) == (5, 5), "what could not be invalidated is, before anything is read"
