"""Calls that are loaded in advance."""

from __future__ import annotations

import itertools
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions import CacheManager, ConfigurationError
from beaker_regions.api.warming import AT_ONCE, Warmed, Warming
from beaker_regions.entries import keys
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import Calls, Manager, make_manager
from tests.beaker_regions.stores.proxies import Proxy
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers import Memcached


def warmed(function: Any, jobs: int = 4, **options: Any) -> Warmed:
    warming = Warming(function, jobs, **options)
    for _ in warming.run():
        pass
    return warming.done


def outcome(function: Any) -> tuple[int, int, int, int]:
    done = warmed(function)
    return done.calls, done.stored, done.loaded, done.failed


def test_calls_that_are_not_stored_are_loaded(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions", tags=["of:{a}"], warm=lambda: [1, (2,), (1, 5), 1, (3, 0)])
    def load(a: int, b: int = 0) -> tuple[int, int]:
        calls()
        return a, b

    load(2)
    assert outcome(load) == (5, 2, 3, 0), "one was stored, and one is twice among them"
    assert outcome(load) == (5, 5, 0, 0)
    assert load.many([1, 2, (1, 5), 3]) == [(1, 0), (2, 0), (1, 5), (3, 0)]
    assert calls.count == 4
    cache.invalidate_tags("of:1")
    assert outcome(load) == (5, 3, 2, 0)


class Shop:
    def __init__(self, number: int) -> None:
        self.number = number


keys.register(Shop, lambda shop: shop.number)


def coroutine_function(cache: CacheManager, calls: Calls) -> Any:
    @cache.region("functions", warm=lambda: [1, 2])
    async def load(number: int) -> int:
        return calls()

    return load


def method(cache: CacheManager, calls: Calls) -> Any:
    class Store(Shop):
        @cache.region("functions", warm=lambda: [(Store(1),), (Store(2),)])
        def load(self) -> int:
            return calls()

    return Store.load


def static_method(cache: CacheManager, calls: Calls) -> Any:
    class Store:
        @cache.region("functions", warm=lambda: [1, 2])
        @staticmethod
        def load(number: int) -> int:
            return calls()

    return Store.load


@pytest.mark.parametrize("make", [coroutine_function, method, static_method])
def test_every_kind_of_function(
    cache: CacheManager, calls: Calls, make: Callable[[CacheManager, Calls], Any]
) -> None:
    function = make(cache, calls)
    assert outcome(function) == (2, 0, 2, 0)
    assert outcome(function) == (2, 2, 0, 0)
    assert calls.count == 2


def test_a_batch_is_looked_up_in_one_round_trip(memcached: Memcached) -> None:
    proxy = Proxy(memcached.port)
    cache = make_manager(type="ext:memcached", url=proxy.address, secret="s", timeout=5)

    @cache.region("functions", warm=lambda: range(2 * AT_ONCE + 1))
    def load(number: int) -> int:
        return number

    assert warmed(load).loaded == 2 * AT_ONCE + 1
    proxy.requests.clear()
    assert warmed(load).stored == 2 * AT_ONCE + 1
    assert len(proxy.requests) == 3


def test_hosts_that_warm_simultaneously_load_each_call_once(
    memcached: Memcached, tmp_path: Path
) -> None:
    loads = tmp_path / "loads"

    def warm() -> None:
        cache = make_manager(type="ext:memcached", url=memcached.address, secret="s", timeout=5)

        @cache.region("functions", warm=lambda: range(40))
        def load(number: int) -> int:
            with loads.open("a") as file:
                file.write(f"{number}\n")
            time.sleep(0.005)
            return number

        done = warmed(load)
        assert (done.calls, done.failed) == (40, 0)
        assert load.many(range(40)) == list(range(40))

    assert statuses([fork(warm) for _ in range(3)]) == [0, 0, 0]
    assert sorted(map(int, loads.read_text().split())) == list(range(40))


def test_a_failed_load_is_reported_and_the_others_continue(cache: CacheManager) -> None:
    @cache.region("functions", warm=lambda: [1, 0, 4, 2])
    def quarter(number: int) -> float:
        return 4 / number

    close_connections: list[int] = []
    done = warmed(
        quarter, jobs=1, close_connections=lambda: close_connections.append(threading.get_ident())
    )
    assert (done.calls, done.loaded, done.failed) == (4, 3, 1)
    assert done.error == f"{quarter.name}(0): ZeroDivisionError('division by zero')"
    assert quarter.peek(2) == 2
    assert len(close_connections) == 2, "after the failure, and at the end"
    assert len({*close_connections, threading.get_ident()}) == 2, "in the thread that loads"


def test_a_stale_value_hides_no_failure(cache: CacheManager) -> None:
    broken = False

    @cache.region("functions", expire=1e-6, grace=3600, warm=lambda: [()])
    def load() -> str:
        if broken:
            raise ConnectionError
        return "old"

    assert load() == "old"
    broken = True
    assert load() == "old"
    assert outcome(load) == (1, 0, 0, 1)
    assert warmed(load).error == f"{load.name}(): ConnectionError()"


def test_a_value_that_cannot_be_stored_is_a_failure_unless_store_if_refuses_it(
    cache: CacheManager,
) -> None:
    @cache.region("functions", warm=lambda: [()])
    def unpicklable() -> Any:
        return lambda: None

    @cache.region("functions", warm=lambda: [()], store_if=lambda value: value is not None)
    def nothing() -> None:
        return None

    done = warmed(unpicklable)
    assert (done.loaded, done.failed) == (0, 1)
    assert done.error == f"{unpicklable.name}(): loaded, but not stored; the log says why"
    done = warmed(nothing)
    assert (done.loaded, done.failed, done.error) == (1, 0, None)


def test_without_its_server_nothing_is_loaded(own_memcached: Memcached, calls: Calls) -> None:
    cache = make_manager(
        type="ext:memcached", url=own_memcached.address, secret="s", timeout=5, retry=0.01
    )

    @cache.region("functions", warm=lambda: range(3))
    def load(number: int) -> int:
        return calls()

    own_memcached.kill()
    done = warmed(load)
    assert (done.calls, done.failed, calls.count) == (3, 3, 0)
    assert done.error is not None
    assert done.error.startswith(f"{load.name}(0): memcached {own_memcached.address}")
    own_memcached.start()
    time.sleep(0.02)
    assert outcome(load) == (3, 0, 3, 0)


def test_a_server_that_becomes_unavailable_during_warming(own_memcached: Memcached) -> None:
    cache = make_manager(
        type="ext:memcached", url=own_memcached.address, secret="s", timeout=5, retry=0.01
    )

    @cache.region("functions", warm=lambda: range(3))
    def load(number: int) -> int:
        if number == 1:
            own_memcached.kill()
        return number

    done = warmed(load, jobs=1)
    assert (done.calls, done.loaded, done.failed) == (3, 1, 2)
    assert f"memcached {own_memcached.address}" in str(done.error)


@pytest.mark.parametrize("while_loading", [False, True])
def test_a_server_that_hangs_for_a_moment_is_waited_for(
    own_memcached: Memcached, while_loading: bool
) -> None:
    cache = make_manager(
        type="ext:memcached", url=own_memcached.address, secret="s", timeout=1, retry=1
    )
    hung: list[threading.Timer] = []

    def hang(number: int) -> None:
        if number == AT_ONCE and not hung:
            own_memcached.pause()
            hung.append(threading.Timer(1.5, own_memcached.resume))
            hung[0].start()

    def calls() -> Iterator[int]:
        for number in range(2 * AT_ONCE):
            if not while_loading:
                hang(number)
            yield number

    @cache.region("functions", warm=calls)
    def load(number: int) -> int:
        hang(number)
        return number

    done = warmed(load)
    assert (done.calls, done.failed, done.error) == (2 * AT_ONCE, 0, None)
    numbers = list(range(2 * AT_ONCE))
    until(lambda: [load.peek(number) for number in numbers] == numbers)


def test_a_region_that_is_off(manager: Manager) -> None:
    @manager(enabled=False).region("functions", warm=lambda: [1])
    def load(number: int) -> int:
        return number

    done = warmed(load)
    assert (done.calls, done.error) == (
        0,
        f"{load.name}: region 'functions' is off, and stores nothing",
    )


def breaks_off() -> Any:
    yield 1
    raise LookupError("no such table")


@pytest.mark.parametrize(
    ("warm", "error"),
    [
        (lambda: [(1, 2)], "warm= gives (1, 2): too many positional arguments"),
        (lambda: [()], "warm= gives (): missing a required argument: 'number'"),
        (lambda: [object()], "argument 'number' cannot be part of a key"),
        (lambda: 3, "warm= raised TypeError(\"'int' object is not iterable\")"),
        (breaks_off, "warm= raised LookupError('no such table')"),
    ],
)
def test_impossible_calls_are_named(
    file_manager: Manager, warm: Callable[[], Any], error: str
) -> None:
    @file_manager().region("functions", warm=warm)
    def load(number: int) -> int:
        return number

    done = warmed(load)
    assert done.error is not None
    assert done.error.startswith(load.name)
    assert error in done.error


@pytest.mark.parametrize("warm", [3, "load", lambda number: [number]])
def test_a_warm_option_that_gives_no_calls_is_refused(file_manager: Manager, warm: Any) -> None:
    def load(number: int) -> int:
        return number

    with pytest.raises(ConfigurationError, match=r"load: warm = .*; give a function without arg"):
        file_manager().region("functions", warm=warm)(load)


def test_a_caller_that_stops_skips_the_rest(file_manager: Manager, calls: Calls) -> None:
    @file_manager(durable=False).region("functions", warm=itertools.count)
    def load(number: int) -> int:
        return calls()

    before = threading.active_count()
    run = Warming(load).run()
    next(run)
    run.close()
    assert threading.active_count() == before
    assert calls.count <= AT_ONCE


def test_content_is_warmed_too(file_manager: Manager, tmp_path: Path, calls: Calls) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 1000)

    @file_manager().region("functions", warm=lambda: [os.fspath(source)])
    def read(path: str) -> Any:
        calls()
        return source

    assert outcome(read) == (1, 0, 1, 0)
    assert outcome(read) == (1, 1, 0, 0)
    assert read(os.fspath(source)).read_bytes() == b"x" * 1000
    assert calls.count == 1
