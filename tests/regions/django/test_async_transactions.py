"""Coroutine functions below `async_to_sync` are part of the transaction around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

if TYPE_CHECKING:
    from regions import CacheManager
    from tests.regions.conftest import Calls

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
