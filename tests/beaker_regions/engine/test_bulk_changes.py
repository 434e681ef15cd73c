"""Bulk changes: a task or process that outlives its block loses no invalidation."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
from typing import TYPE_CHECKING

from beaker_regions.engine import invalidation
from tests.beaker_regions.children import fork, statuses

if TYPE_CHECKING:
    from beaker_regions import CacheManager
    from tests.beaker_regions.conftest import Calls

LONG = 60
"""Seconds; longer than any of these takes."""


def test_a_task_that_outlives_the_block_invalidates_at_once(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    async def load() -> int:
        return calls()

    async def main() -> None:
        over = asyncio.Event()

        async def change() -> None:
            await load.invalidate()
            assert await load() == 1, "its own thread bypasses entries that it has invalidated"
            await over.wait()
            await load.invalidate()

        assert await load.refresh() == 1
        calls.count = 0
        with cache.deferred_invalidation():
            task = asyncio.create_task(change())
            while not calls.count:
                await asyncio.sleep(0.001)
        assert await load() == await load() == 2
        over.set()
        await task
        assert await load() == 3

    asyncio.run(main())


def test_a_copied_context_that_is_used_after_the_block_invalidates_at_once(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    def load() -> int:
        return calls()

    with cache.deferred_invalidation():
        context = contextvars.copy_context()
    assert load() == 1
    context.run(load.invalidate)
    assert load() == 2
    assert context.run(load) == 2, "nothing waits any more"

    def whole_block() -> None:
        with cache.deferred_invalidation():
            load.invalidate()
            assert load.peek() is None

    context.run(whole_block)
    assert load() == 3


def test_a_child_that_is_forked_within_the_block_invalidates_at_once(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    def load() -> int:
        return calls()

    assert load() == 1
    with cache.deferred_invalidation():
        assert statuses([fork(load.invalidate)]) == [0]
        assert load() == 2


def test_a_child_that_is_forked_within_the_block_has_nothing_pending(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    def load() -> int:
        return calls()

    def use() -> None:
        signal.alarm(LONG)
        assert load() == load() == 1, "the pending invalidations are the parent's"
        load.invalidate()
        assert load() == 2

    with cache.deferred_invalidation():
        load.invalidate()
        collected = invalidation._bulk_change.get()
        assert collected is not None
        taken, proceed = threading.Event(), threading.Event()

        def collect() -> None:
            with collected._lock:
                taken.set()
                assert proceed.wait(LONG)

        thread = threading.Thread(target=collect)
        thread.start()
        assert taken.wait(LONG)
        child = fork(use)
        proceed.set()
        thread.join()
        assert statuses([child]) == [0], "it waits for a thread that it does not have"


def test_threads_that_collect_while_the_block_ends_lose_no_invalidation(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    def load(number: int) -> int:
        return calls()

    for number in range(20):
        before = load(number)
        begun = threading.Event()

        def change(number: int = number, begun: threading.Event = begun) -> None:
            begun.set()
            load.invalidate(number)

        with cache.deferred_invalidation():
            context = contextvars.copy_context()
            thread = threading.Thread(target=context.run, args=(change,))
            thread.start()
            begun.wait()
        thread.join()
        assert load(number) > before
