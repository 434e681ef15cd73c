"""Coroutine functions are part of the transaction that their synchronous code has open."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.db import connections, transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from beaker_regions import CacheManager
    from tests.beaker_regions.conftest import Calls, Manager

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_invalidation_waits_for_the_commit(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    async def load() -> int:
        return calls()

    read = async_to_sync(load)
    assert (read(), read()) == (1, 1)
    with transaction.atomic():
        async_to_sync(load.invalidate)()
        assert async_to_sync(load.peek)() is None, "its own transaction sees no old value"
        assert cache["functions"].stats["invalidations"] == 0
    assert (read(), read()) == (2, 2)
    with transaction.atomic():
        async_to_sync(load.invalidate_all)()
        transaction.set_rollback(True)
    assert read() == 2, "rolled back"


def test_nothing_of_an_open_transaction_is_stored(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    async def load() -> int:
        return calls()

    with transaction.atomic():
        assert async_to_sync(load)() == 1
        assert async_to_sync(load.refresh)() == 2
        transaction.set_rollback(True)
    assert async_to_sync(load)() == 3


def test_a_rolled_back_savepoint_discards_its_invalidations(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    async def load(number: int) -> int:
        return calls()

    read = async_to_sync(load)
    assert (read(1), read(2)) == (1, 2)
    with transaction.atomic():
        async_to_sync(load.invalidate)(1)
        with transaction.atomic():
            async_to_sync(load.invalidate)(2)
            assert async_to_sync(load.peek)(2) is None
            transaction.set_rollback(True)
        # A hit again, unless the outbox has to be polled just then.
        assert async_to_sync(load.peek)(2) in (2, None)
    assert (read(1), read(2)) == (3, 2)


class Names:
    """The name of a user, read and changed by coroutines."""

    def __init__(self, cache: CacheManager) -> None:
        self.cache = cache
        self.pk = 0

        @cache.region("functions", uuid4().hex)
        async def name(pk: int) -> str:
            return (await User.objects.aget(pk=pk)).first_name

        self.name = name

    async def create(self) -> None:
        self.pk = (await User.objects.acreate(username=uuid4().hex, first_name="old")).pk
        assert await self.name(self.pk) == "old"

    async def change(self) -> None:
        await User.objects.filter(pk=self.pk).aupdate(first_name="new")
        await self.name.invalidate(self.pk)

    @property
    def invalidations(self) -> int:
        return self.cache["functions"].stats["invalidations"]


@contextlib.asynccontextmanager
async def place(kind: str) -> AsyncIterator[None]:
    """Run as a script, or as a request of Django's ASGI handler, which has a thread of its own."""
    async with ThreadSensitiveContext() if kind == "request" else contextlib.nullcontext():
        try:
            yield
        finally:
            await sync_to_async(connections.close_all)()


@pytest.mark.parametrize("rolls_back", [False, True])
@pytest.mark.parametrize("kind", ["script", "request"])
def test_a_transaction_begun_by_hand_includes_the_coroutine(
    cache: CacheManager, kind: str, rolls_back: bool
) -> None:
    names = Names(cache)

    async def main() -> None:
        async with place(kind):
            await names.create()
            atomic = transaction.atomic()
            await sync_to_async(atomic.__enter__)()
            await names.change()
            assert names.invalidations == 0, "it waits for the commit"
            assert await names.name.peek(names.pk) is None
            assert await names.name(names.pk) == await names.name.refresh(names.pk) == "new"
            await sync_to_async(transaction.set_rollback)(rolls_back)
            await sync_to_async(atomic.__exit__)(None, None, None)
            assert names.invalidations == (0 if rolls_back else 1)
            assert await names.name(names.pk) == ("old" if rolls_back else "new")

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["script", "request"])
def test_synchronous_calls_in_a_coroutine_are_part_of_its_transaction(
    file_manager: Manager, calls: Calls, kind: str
) -> None:
    cache = file_manager()

    @cache.region("functions")
    def load() -> int:
        return calls()

    async def main() -> None:
        async with place(kind):
            assert load() == load() == 1
            atomic = transaction.atomic()
            await sync_to_async(atomic.__enter__)()
            await User.objects.acreate(username=uuid4().hex)
            with cache.deferred_invalidation():
                load.invalidate()
            await User.objects.acreate(username=uuid4().hex)
            assert cache["functions"].stats["invalidations"] == 0
            assert (load(), load()) == (2, 3)
            await sync_to_async(atomic.__exit__)(None, None, None)
            assert load() == load() == 4

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["script", "request"])
def test_an_async_view_that_changes_in_an_atomic_function(cache: CacheManager, kind: str) -> None:
    names = Names(cache)

    @sync_to_async
    @transaction.atomic
    def change(rolls_back: bool) -> None:
        async_to_sync(names.change)()
        assert async_to_sync(names.name)(names.pk) == "new"
        transaction.set_rollback(rolls_back)

    async def main() -> None:
        async with place(kind):
            await names.create()
            await change(True)
            assert await names.name(names.pk) == "old"
            await change(False)
            assert await names.name(names.pk) == "new"

    asyncio.run(main())


def test_an_event_loop_within_a_transaction_is_part_of_it(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    async def load() -> int:
        return calls()

    @cache.region("functions")
    def plain() -> int:
        return calls()

    async def change() -> None:
        await load.invalidate()
        plain.invalidate()
        assert await load.peek() is None
        assert plain.peek() is None

    assert (asyncio.run(load()), plain()) == (1, 2)
    with transaction.atomic():
        asyncio.run(change())
        assert (asyncio.run(load()), plain()) == (3, 4)
        transaction.set_rollback(True)
    assert (asyncio.run(load()), plain()) == (1, 2)
    with transaction.atomic():
        asyncio.run(change())
        assert cache["functions"].stats["invalidations"] == 0
    assert (asyncio.run(load()), plain()) == (5, 6)
    assert (asyncio.run(load()), plain()) == (5, 6)


def test_a_thread_that_waits_for_a_coroutine_in_a_transaction_does_not_deadlock(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    async def load() -> int:
        return calls()

    async def read_and_invalidate() -> None:
        await load()
        await load.invalidate()

    async def main() -> None:
        loop = asyncio.get_running_loop()

        @transaction.atomic
        def wait() -> None:
            User.objects.create(username=uuid4().hex)
            asyncio.run_coroutine_threadsafe(read_and_invalidate(), loop).result(20)

        async with place("request"):
            assert await load() == 1
            await sync_to_async(wait)()
            while await load() == 1:
                await asyncio.sleep(0.01)

    asyncio.run(main())


def test_a_task_that_outlives_async_to_sync_is_not_blocked(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    async def load() -> int:
        return calls()

    async def main() -> None:
        tasks: list[asyncio.Task[int]] = []

        async def begin() -> None:
            async def later() -> int:
                await proceed.wait()
                return await load()

            tasks.append(asyncio.create_task(later()))

        proceed = asyncio.Event()
        await sync_to_async(lambda: async_to_sync(begin)())()
        proceed.set()
        assert await tasks[0] == 1

    asyncio.run(main())
