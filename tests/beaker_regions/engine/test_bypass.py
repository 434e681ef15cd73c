"""A block in which no stored value is used."""

from __future__ import annotations

import asyncio
from pathlib import Path

from beaker_regions import CacheManager, parse_cache_config_options
from tests.beaker_regions.conftest import Calls


def test_functions_run_and_nothing_is_stored(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load(number: int) -> int:
        return calls()

    counts, values = cache["functions"].stats, cache.values("functions", "carts")
    values.set("a", 1)
    assert load(1) == 1
    with cache.bypassed():
        assert (load(1), load(1), load(2), load.many([1, 2])) == (2, 3, 4, [5, 6])
        assert load.peek(1) is None
        # A value that the application sets itself cannot be loaded instead.
        assert values.get("a") == 1
        with cache.bypassed():
            assert load(1) == 7
        assert load(1) == 8
        load.invalidate(1)
    assert counts["bypassed"] == 8
    assert (load(1), load(1), load(2)) == (9, 9, 10)


def test_a_task_that_outlives_the_block_is_not_bypassed(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    async def load() -> int:
        return calls()

    async def later(ended: asyncio.Event) -> int:
        assert await load() == 2
        await ended.wait()
        return await load()

    async def main() -> None:
        ended = asyncio.Event()
        assert await load() == 1
        with cache.bypassed():
            task = asyncio.create_task(later(ended))
            while calls.count < 2:
                await asyncio.sleep(0)
        ended.set()
        assert await task == await load() == 1

    asyncio.run(main())


def test_clear_covers_every_region(tmp_path: Path, calls: Calls) -> None:
    config = {"cache.regions": "one, two", "cache.type": "file", "cache.data_dir": tmp_path}
    cache = CacheManager(**parse_cache_config_options({**config, "cache.secret": "s"}))

    def load() -> int:
        return calls()

    functions = [cache.region(region)(load) for region in ("one", "two")]
    assert [function() for function in functions * 2] == [1, 2, 1, 2]
    cache.clear()
    assert [function() for function in functions * 2] == [3, 4, 3, 4]
