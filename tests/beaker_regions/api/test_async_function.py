"""Coroutine functions: many tasks share one load, and the event loop is never blocked."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.beaker_regions.conftest import Calls, Manager, make_manager
from tests.beaker_regions.stores.proxies import Proxy
from tests.servers import Memcached

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beaker_regions import CacheManager

LONG = 60.0
"""Seconds; longer than any test."""


def test_every_way_to_call(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions", tags=["all"])
    async def load(number: int) -> tuple[int, int]:
        await asyncio.sleep(0)
        return number, calls()

    async def main() -> None:
        assert asyncio.iscoroutinefunction(load)
        assert await load.peek(1) is None
        assert await load(1) == await load(1) == await load.peek(1) == (1, 1)
        await load.invalidate(1)
        assert await load(1) == (1, 2)
        await load.invalidate_all()
        assert await load(1) == (1, 3)
        await asyncio.to_thread(cache.invalidate_tags, "all")
        assert await load(1) == (1, 4)
        assert await load.refresh(1) == await load(1) == (1, 5)
        assert await load.uncached(1) == (1, 6)

    asyncio.run(main())


def test_many_tasks_load_once(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    async def load() -> int:
        await asyncio.sleep(0.1)
        return calls()

    async def main() -> list[int]:
        return await asyncio.gather(*(load() for _ in range(50)))

    assert asyncio.run(main()) == [1] * 50


def test_an_exception_reaches_its_task_and_the_next_one_loads(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    async def load() -> int:
        await asyncio.sleep(0.05)
        if calls() == 1:
            raise LookupError("not yet")
        return calls.count

    async def main() -> list[Any]:
        return await asyncio.gather(*(load() for _ in range(5)), return_exceptions=True)

    results = asyncio.run(main())
    (failure,) = [result for result in results if isinstance(result, LookupError)]
    assert str(failure) == "not yet"
    assert [result for result in results if result is not failure] == [2] * 4


def test_a_stop_iteration_becomes_a_runtime_error_as_in_any_coroutine(cache: CacheManager) -> None:
    @cache.region("functions")
    async def first(texts: tuple[str, ...]) -> str:
        return next(iter(texts))

    async def main(call: Any) -> None:
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration") as raised:
            await call(())
        assert isinstance(raised.value.__cause__, StopIteration)

    for call in (first.uncached, first, first, first.refresh):
        asyncio.run(main(call))


def test_a_cancelled_load_releases_its_lease(manager: Manager, calls: Calls) -> None:
    cache = manager(lease=LONG)

    @cache.region("functions")
    async def load() -> int:
        if calls() == 1:
            await asyncio.sleep(LONG)
        return calls.count

    async def main() -> None:
        first = asyncio.create_task(load())
        while not calls.count:
            await asyncio.sleep(0.01)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await load() == 2

    asyncio.run(main())
    assert cache["functions"].stats["waits"] == 0


@pytest.fixture
def proxy(memcached: Memcached) -> Iterator[Proxy]:
    made = Proxy(memcached.port)
    yield made
    made.close()


def test_a_task_cancelled_while_it_takes_the_lease_does_not_keep_it(
    proxy: Proxy, calls: Calls
) -> None:
    cache = make_manager(
        type="ext:memcached", url=proxy.address, secret="of the tests", lease=LONG, timeout=LONG
    )
    asked, proceed = threading.Event(), threading.Event()

    def hold_leases(request: str) -> None:
        if request.startswith("add brg1:l"):
            asked.set()
            assert proceed.wait(LONG)

    proxy.answer = hold_leases

    @cache.region("functions")
    async def load() -> int:
        return calls()

    async def main() -> None:
        first = asyncio.create_task(load())
        await asyncio.to_thread(asked.wait, LONG)
        first.cancel()
        await asyncio.sleep(0.05)
        proceed.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        second = asyncio.create_task(load())
        while not calls.count and not cache["functions"].stats["waits"]:
            await asyncio.sleep(0.01)
        assert not cache["functions"].stats["waits"], "the lease is free"
        assert await second == 1

    asyncio.run(main())


def test_the_event_loop_is_not_blocked_while_the_server_hangs(
    own_memcached: Memcached, calls: Calls
) -> None:
    cache = make_manager(
        type="ext:memcached", url=own_memcached.address, secret="of the tests", timeout=LONG
    )

    @cache.region("functions")
    async def load() -> int:
        return calls()

    order: list[str] = []

    async def tick_and_resume() -> None:
        for _ in range(20):
            await asyncio.sleep(0.005)
            order.append("tick")
        own_memcached.resume()

    async def read() -> None:
        assert await load() == 1
        order.append("read")

    async def main() -> None:
        await load()
        own_memcached.pause()
        await asyncio.gather(tick_and_resume(), read())

    asyncio.run(main())
    assert order == ["tick"] * 20 + ["read"]
