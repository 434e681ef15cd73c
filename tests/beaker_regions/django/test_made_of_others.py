"""An entry that contains others is loaded once for all callers, also after one has changed."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions.django.pages.dependencies import check, fetch
from beaker_regions.engine.drivers import run
from beaker_regions.engine.reads import Dependency
from beaker_regions.entries.freshness import Policy

if TYPE_CHECKING:
    from beaker_regions import CacheManager
    from tests.beaker_regions.conftest import Calls

CALLERS = 12
POLICY = Policy(expire=math.inf, grace=0.0)


class Whole:
    """A value that contains the value of another entry."""

    def __init__(self, number: int, dependencies: tuple[Dependency, ...]) -> None:
        self.number = number
        self.dependencies = dependencies


@pytest.mark.parametrize("while_loading", [False, True])
def test_one_caller_loads_it_after_an_invalidation_of_a_part(
    cache: CacheManager, calls: Calls, while_loading: bool
) -> None:
    @cache.region("functions")
    def part() -> None:
        pass

    @cache.region("functions")
    def whole() -> None:
        pass

    region, entry, inner = cache["functions"], whole.entry(), part.entry()

    def load() -> Whole:
        number = calls()
        generations = region.store.read_for_load(inner).generations
        time.sleep(0.3)
        if while_loading:
            part.invalidate()
        return Whole(number, (Dependency(region.name, inner, generations, math.inf),))

    def call(_: Any = None) -> int:
        (found,) = check(region, [entry], [region.lookup(entry)], POLICY)
        number: int = run(fetch(region, entry, POLICY, found), load).number
        return number

    assert call() == 1
    part.invalidate()
    start = threading.Barrier(CALLERS, timeout=60)

    def call_at_once(_: int) -> int:
        start.wait()
        return call()

    with ThreadPoolExecutor(CALLERS) as threads:
        numbers = set(threads.map(call_at_once, range(CALLERS)))
    assert calls.count <= (4 if while_loading else 2), "not once for each caller"
    assert min(numbers) > 1, "the value that was stored before contains the old part"
