"""Values that the application sets: no update is lost when several update at the same moment."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions import ContendedError, UnkeyableArgumentError
from tests.beaker_regions.api.test_counters import PROCESSES, memcached_manager  # noqa: F401 a fixture
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import make_manager
from tests.waiting import until

if TYPE_CHECKING:
    from beaker_regions import CacheManager
    from beaker_regions.api.values import Values
    from tests.beaker_regions.conftest import Later, Manager
    from tests.servers import Memcached

TIMES = 60


@pytest.fixture
def carts(cache: CacheManager) -> Values[Any, Any]:
    return cache.values("functions", "carts")


def _with(new: Any, cart: set[Any]) -> set[Any]:
    return {*cart, new}


def test_eight_processes_lose_no_update(cache: CacheManager) -> None:
    carts = cache.values("functions", "carts")

    def fill(name: int) -> None:
        for number in range(TIMES):
            new = (name, number)
            assert new in (carts.update("one", partial(_with, new), default=set()) or ())

    children = [fork(partial(fill, name)) for name in range(PROCESSES)]
    assert statuses(children) == [0] * PROCESSES
    wanted = {(name, number) for name in range(PROCESSES) for number in range(TIMES)}
    assert carts.get("one") == wanted


def test_threads_lose_no_update_and_miss_no_value_that_is_there(cache: CacheManager) -> None:
    carts = cache.values("functions", "carts")
    carts.set("one", ())
    missed = []

    def add(cart: Any, name: int) -> Any:
        if cart is None:
            missed.append(name)
        return (*(cart or ()), name)

    def fill(name: int) -> None:
        for _ in range(TIMES):
            carts.update("one", lambda cart: add(cart, name))

    threads = [threading.Thread(target=fill, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not missed
    assert Counter(carts.get("one")) == dict.fromkeys(range(4), TIMES)


def test_when_eight_processes_add_a_value_one_of_them_succeeds(
    cache: CacheManager,
) -> None:
    names = cache.values("functions", "names")

    def add(name: int) -> None:
        for number in range(TIMES):
            if names.add(number, name):
                cache.counter("functions", "stored", number).add()
                assert names.get(number) == name

    children = [fork(partial(add, name)) for name in range(PROCESSES)]
    assert statuses(children) == [0] * PROCESSES
    for number in range(TIMES):
        assert cache.counter("functions", "stored", number).value() == 1


def test_a_value_is_stored_by_name_and_typed_key_until_it_is_deleted(cache: CacheManager) -> None:
    carts, baskets = cache.values("functions", "carts"), cache.values("functions", "baskets")
    path = Path(__file__)
    assert carts.set(1, path)
    assert carts.set("1", None)
    assert baskets.set(1, "x" * 3_000_000)
    assert carts.get(1) == path
    assert carts.get("1", "nothing") is None
    assert carts.get_many([1, "1", 2]) == {1: path, "1": None}
    assert baskets.get(1) == "x" * 3_000_000
    carts.delete(1)
    assert carts.get(1, "nothing") == "nothing"
    carts.clear()
    assert carts.get_many([1, "1"]) == {}
    assert baskets.get(1)


def test_clearing_the_region_deletes_its_values(
    cache: CacheManager, carts: Values[Any, Any]
) -> None:
    carts.set("one", 1)
    cache.invalidate_region("functions")
    assert carts.get("one") is None
    assert carts.add("one", 2)
    assert carts.get("one") == 2


def test_a_delete_during_an_update_takes_effect(carts: Values[Any, Any]) -> None:
    carts.set("one", [1])

    def change(cart: list[int]) -> list[int]:
        carts.delete("one")
        return [*cart, 2]

    assert carts.update("one", change) == [1, 2]
    assert carts.get("one") is None


def test_a_set_during_an_update_is_not_lost(carts: Values[Any, Any]) -> None:
    carts.set("one", [1])
    seen = []

    def change(cart: list[int]) -> list[int]:
        seen.append(cart)
        if len(seen) == 1:
            carts.set("one", [7])
        return [*cart, 2]

    assert carts.update("one", change) == [7, 2]
    assert seen == [[1], [7]]
    assert carts.get("one") == [7, 2]


def test_an_update_that_always_loses_raises(carts: Values[Any, Any]) -> None:
    def change(number: int) -> int:
        carts.set("one", number + 1)
        return 0

    with pytest.raises(
        ContendedError, match="region 'functions', values 'carts': 'one' was changed"
    ):
        carts.update("one", change, default=0)
    assert carts.get("one") > 1


def test_an_update_keeps_the_expiry_unless_a_new_one_is_given(
    carts: Values[Any, Any], later: Later
) -> None:
    carts.set("short", 1, expire=60)
    carts.set("long", 1, expire=60)
    assert carts.update("short", lambda value: value + 1) == 2
    assert carts.update("long", lambda value: value + 1, expire=600) == 2
    assert carts.update("new", lambda value: value + 1, default=1, expire=60) == 2
    later(90)
    assert carts.get_many(["short", "long", "new"]) == {"long": 2}
    assert carts.update("short", lambda value: value + 1, default=10) == 11
    assert carts.add("new", 1)


def test_a_restarted_server_does_not_confuse_two_updates(own_memcached: Memcached) -> None:
    """A restarted server numbers its items from 1 again, so old numbers mean other items."""
    options = {"secret": "of the tests", "timeout": 5, "retry": 0.01}
    cache = make_manager(type="ext:memcached", url=own_memcached.address, **options)
    carts = cache.values("functions", "carts")
    carts.set("one", "before")

    def change(value: str) -> str:
        if value == "before":
            own_memcached.restart()
            carts.set("one", "after")
        return f"{value}, updated"

    assert carts.update("one", change) == "after, updated"
    assert carts.get("one") == "after, updated"


def test_an_unavailable_store_has_no_stale_value_after_a_set(
    own_memcached: Memcached, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make_manager(
        type="ext:memcached",
        url=own_memcached.address,
        secret="of the tests",
        timeout=0.5,
        retry=0.01,
    )
    carts = cache.values("functions", "carts")
    carts.set("one", "old")
    own_memcached.pause()
    assert not carts.set("one", "new")
    assert carts.get("one", "nothing") == "nothing"
    assert carts.update("one", str.upper, default="") is None
    assert not carts.add("one", "new")
    own_memcached.resume()
    assert "values 'carts'" in caplog.text

    def is_set() -> bool:
        assert carts.get("one") is None
        return carts.set("one", "newer")

    until(is_set)
    until(lambda: carts.get("one") == "newer")


def test_a_region_that_is_turned_off_has_no_values(manager: Manager) -> None:
    carts = manager(enabled=False).values("functions", "carts")
    assert not carts.set("one", 1)
    assert not carts.add("one", 1)
    assert carts.update("one", str) is None
    assert carts.get("one", "nothing") == "nothing"
    assert carts.get_many(["one"]) == {}


def test_a_value_that_cannot_be_stored_is_refused(carts: Values[Any, Any]) -> None:
    with pytest.raises(UnkeyableArgumentError, match="values 'carts'"):
        carts.get(object())
    with pytest.raises(ValueError, match="expire = 0: give seconds above 0"):
        carts.set("one", 1, expire=0)
    carts.set("one", 1)
    with pytest.raises((AttributeError, TypeError), match=r"pickle|local object"):
        carts.set("one", lambda: None)
    assert carts.get("one") == 1


def test_a_time_to_live_may_be_a_timedelta(carts: Values[Any, Any]) -> None:
    assert carts.set("ann", 1, expire=timedelta(minutes=1))
    assert carts.get("ann") == 1
    with pytest.raises(ValueError, match="seconds above 0"):
        carts.set("ann", 1, expire=timedelta(0))
