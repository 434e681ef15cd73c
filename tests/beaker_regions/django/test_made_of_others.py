"""What contains other entries is loaded once for all, also when one of these has changed."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions.django import manager as known
from beaker_regions.django.pages.dependencies import Need, fetch, judge
from beaker_regions.engine.drivers import run
from beaker_regions.entries.freshness import Policy

if TYPE_CHECKING:
    from beaker_regions import CacheManager
    from tests.beaker_regions.conftest import Calls

CALLERS = 12
POLICY = Policy(expire=math.inf, grace=0.0)


class Whole:
    """A value that contains another entry's."""

    def __init__(self, number: int, needs: tuple[Need, ...]) -> None:
        self.number = number
        self.needs = needs


@pytest.mark.parametrize("while_loading", [False, True])
def test_one_loads_it_when_a_part_was_invalidated(
    cache: CacheManager, calls: Calls, monkeypatch: pytest.MonkeyPatch, while_loading: bool
) -> None:
    @cache.region("functions")
    def part() -> None:
        pass

    @cache.region("functions")
    def whole() -> None:
        pass

    monkeypatch.setattr(known, "_manager", cache)
    region, entry, inner = cache["functions"], whole.entry(), part.entry()

    def load() -> Whole:
        number = calls()
        need = Need(region.name, inner, region.store.begin(inner).generations, math.inf)
        time.sleep(0.3)
        if while_loading:
            part.invalidate()
        return Whole(number, (need,))

    def call(_: Any = None) -> int:
        (found,) = judge(region, [entry], [region.look(entry)], POLICY)
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
    assert calls.count <= (4 if while_loading else 2), "not one each"
    assert min(numbers) > 1, "what was stored before contains the old part"
