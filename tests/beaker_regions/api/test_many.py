"""Many calls at once, and bulk changes."""

from __future__ import annotations

import asyncio

import pytest

from beaker_regions import CacheManager
from tests.beaker_regions.conftest import Calls


def test_many_calls_in_their_order(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load(a: int, b: int = 0) -> tuple[int, int, int]:
        return a, b, calls()

    assert load(1) == (1, 0, 1)
    assert load.many([(2, 5), 1, (1, 0), (2, 5), 3]) == [
        (2, 5, 2),
        (1, 0, 1),
        (1, 0, 1),
        (2, 5, 2),
        (3, 0, 3),
    ]
    assert load.many([3, (2, 5)]) == [(3, 0, 3), (2, 5, 2)]
    assert load.many([]) == []


def test_thousands_of_calls(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions", tags=["n:{number}"])
    def load(number: int) -> int:
        calls()
        return number

    numbers = list(range(1500))
    assert load.many(numbers) == numbers
    assert load.many(reversed(numbers)) == numbers[::-1]
    assert calls.count == len(numbers)
    cache.invalidate_tags("n:7")
    assert load.many(numbers) == numbers
    assert calls.count == len(numbers) + 1


def test_many_calls_of_a_coroutine_function(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    async def load(number: int) -> tuple[int, int]:
        return number, calls()

    async def main() -> None:
        assert await load.many([1, 2, 1]) == [(1, 1), (2, 2), (1, 1)]
        assert await load.many([2, 1]) == [(2, 2), (1, 1)]

    asyncio.run(main())


def test_a_method_of_many_calls(cache: CacheManager) -> None:
    class Shop:
        @cache.region("functions", ignore=["self"])
        def load(self, number: int) -> int:
            return number * 2

    assert Shop().load.many([1, 2]) == [2, 4]


def test_a_bulk_change_is_invalidated_once_at_its_end(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions", tags=["list:{number}"])
    def load(number: int) -> int:
        return calls()

    assert (load(1), load(2)) == (1, 2)
    before = cache["functions"].stats["invalidations"]
    with cache.deferred_invalidation():
        for _ in range(10):
            cache.invalidate_tags("list:1")
            with cache.deferred_invalidation():
                load.invalidate(1)
        assert load.peek(1) is None, "the block itself uses nothing that it has changed"
        assert (load(1), load(1)) == (3, 4)
        assert load(2) == 2
        assert cache["functions"].stats["invalidations"] == before
    assert cache["functions"].stats["invalidations"] == before + 1
    assert (load(1), load(1), load(2)) == (5, 5, 2)


def test_a_bulk_change_that_fails_half_way_still_invalidates(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    def load() -> int:
        return calls()

    def change() -> None:
        with cache.deferred_invalidation():
            load.invalidate()
            raise ConnectionError

    assert load() == 1
    with pytest.raises(ConnectionError):
        change()
    assert load() == 2
