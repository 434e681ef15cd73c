"""What coroutines ask of stores waits for nothing that the application does in threads."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.beaker_regions.children import fork
from tests.beaker_regions.conftest import Calls, Manager, make_manager
from tests.beaker_regions.stores.proxies import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from beaker_regions import CacheManager
    from beaker_regions.entries.content import CachedFile
    from tests.servers import Memcached

SOON = 60.0
"""Seconds; what takes longer hangs."""


def test_a_hit_does_not_wait_behind_the_threads_of_the_application(cache: CacheManager) -> None:
    @cache.region("functions")
    async def load(number: int) -> int:
        return number

    async def main() -> None:
        assert await load(1) == 1
        proceed = threading.Event()
        busy = [asyncio.create_task(asyncio.to_thread(proceed.wait, SOON)) for _ in range(64)]
        await asyncio.sleep(0)
        try:
            assert await asyncio.wait_for(load(1), SOON / 2) == 1
            await asyncio.wait_for(load.invalidate(1), SOON / 2)
        finally:
            proceed.set()
            await asyncio.gather(*busy)

    asyncio.run(main())


def test_functions_in_threads_that_wait_for_coroutine_functions_lock_nothing(
    cache: CacheManager,
) -> None:
    @cache.region("functions")
    async def inner(number: int) -> int:
        return number

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()

        @cache.region("functions")
        def outer(number: int) -> int:
            here = asyncio.run(inner(number))
            return here + asyncio.run_coroutine_threadsafe(inner(-number), loop).result(SOON)

        return await asyncio.gather(*(asyncio.to_thread(outer, number) for number in range(64)))

    assert asyncio.run(main()) == [0] * 64


def test_content_that_waits_for_coroutine_functions_locks_nothing(
    file_manager: Manager,
) -> None:
    cache = file_manager()

    @cache.region("functions")
    async def part(number: int) -> bytes:
        return b"%d" % number

    @cache.region("functions")
    async def content(number: int) -> Any:
        def parts() -> Iterator[bytes]:
            together.wait(SOON)
            yield asyncio.run(part(number))

        return parts()

    together = threading.Barrier(40)

    async def main() -> None:
        found = await asyncio.gather(*map(content, range(40)))
        assert [file.read_bytes() for file in found] == [b"%d" % number for number in range(40)]

    asyncio.run(main())


@pytest.mark.parametrize("options", [{}, {"enabled": False}])
def test_content_that_is_not_stored_does_not_block_the_loop(
    file_manager: Manager, options: dict[str, Any]
) -> None:
    cache = file_manager(**options)

    @cache.region("functions", store_if=lambda _: False)
    async def content() -> Any:
        def parts() -> Iterator[bytes]:
            assert proceed.wait(SOON)
            yield b"all"

        return parts()

    proceed = threading.Event()

    async def main() -> bytes:
        asyncio.get_running_loop().call_later(0.05, proceed.set)
        found: CachedFile = await content()
        return found.read_bytes()

    assert asyncio.run(main()) == b"all"


def test_context_variables_are_those_of_the_caller(cache: CacheManager) -> None:
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")

    @cache.region("functions", key=lambda: user.get())
    async def load() -> str:
        return user.get()

    async def read(name: str) -> str:
        user.set(name)
        assert await load() == name
        found = await load.peek()
        assert found is not None
        return found

    async def main() -> list[str]:
        return await asyncio.gather(*map(read, "abc"))

    assert asyncio.run(main()) == ["a", "b", "c"]


def test_a_closed_coroutine_gives_its_lease_back(manager: Manager, calls: Calls) -> None:
    cache = manager(lease=SOON * 2)

    @cache.region("functions")
    async def load() -> int:
        if calls() == 1:
            await asyncio.sleep(SOON * 2)
        return calls.count

    async def close_while_loading() -> None:
        coroutine = load()
        future = coroutine.send(None)
        while not calls.count:
            await asyncio.wait([future])
            future = coroutine.send(None)
        coroutine.close()

    async def main() -> None:
        await close_while_loading()
        assert await asyncio.wait_for(load(), SOON) == 2

    asyncio.run(main())


def test_a_coroutine_that_is_closed_while_it_takes_the_lease_does_not_keep_it(
    memcached: Memcached, calls: Calls
) -> None:
    proxy = Proxy(memcached.port)
    cache = make_manager(
        type="ext:memcached",
        url=proxy.address,
        secret="of the tests",
        lease=SOON * 2,
        timeout=SOON * 2,
    )
    asked, proceed = threading.Event(), threading.Event()

    def hold_leases(request: str) -> None:
        if request.startswith("add brg1:l"):
            asked.set()
            assert proceed.wait(SOON)

    proxy.answer = hold_leases

    @cache.region("functions")
    async def load() -> int:
        return calls()

    async def main() -> None:
        coroutine: Any = load()
        future = coroutine.send(None)
        while not asked.is_set():
            await asyncio.wait([future], timeout=0.05)
            if future.done():
                future = coroutine.send(None)
        coroutine.close()
        gc.collect()
        proceed.set()
        assert await asyncio.wait_for(load(), SOON) == 1

    try:
        asyncio.run(main())
    finally:
        proxy.close()


def test_a_forked_child_has_threads_of_its_own(cache: CacheManager) -> None:
    @cache.region("functions")
    async def load(number: int) -> int:
        return number

    async def main() -> None:
        assert await asyncio.wait_for(asyncio.gather(*map(load, range(50))), SOON) == [*range(50)]

    asyncio.run(main())
    child = fork(lambda: asyncio.run(main()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_process_ends_at_once_and_gives_a_lease_back_before(tmp_path: Path) -> None:
    program = f"""
import asyncio
from beaker_regions import CacheManager, parse_cache_config_options

cache = CacheManager(**parse_cache_config_options({{
    "cache.regions": "functions", "cache.functions.type": "file",
    "cache.functions.lease": {SOON * 2},
    "cache.functions.data_dir": {str(tmp_path)!r}, "cache.functions.secret": "of the tests",
}}))

@cache.region("functions")
async def load():
    await asyncio.sleep(KEPT)
    return 1

async def main():
    coroutine = load()
    future = coroutine.send(None)
    for _ in range(30):
        if future is not None and not future.done():
            await asyncio.wait([future], timeout=0.02)
        if future is None or future.done():
            future = coroutine.send(None)
    coroutine.close()

if KEPT:
    asyncio.run(main())
else:
    assert asyncio.run(load()) == 1
"""
    for kept in (str(SOON * 2), "0"):
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", program.replace("KEPT", kept)], check=True, timeout=SOON
        )
        assert time.monotonic() - started < SOON
