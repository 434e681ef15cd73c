"""Servers that want a name and a password: a real memcached with SASL, and a real password."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions import CacheManager, parse_cache_config_options
from beaker_regions.config.environment import memcached_options
from beaker_regions.reports import health
from beaker_regions.runtime import threads
from tests.beaker_regions.conftest import Manager, failures, make_manager
from tests.beaker_regions.stores.proxies import Proxy
from tests.servers import PasswordMemcached
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers import Memcached

USER, PASSWORD = PasswordMemcached.USER, PasswordMemcached.PASSWORD


def counting(cache: CacheManager) -> Any:
    """Return a cached function of anything that counts its calls."""
    calls = count(1)

    @cache.region("functions")
    def load(argument: int) -> int:
        return next(calls)

    return load


def test_a_region_signs_in(password_manager: Manager) -> None:
    cache = password_manager()
    load = counting(cache)
    assert [load(1), load(1), load.many([1, 2])] == [1, 1, [1, 2]]
    load.invalidate(1)
    assert [load(1), load.peek(1), load(2)] == [3, 3, 2]
    load.invalidate_all()
    assert load(2) == 4
    assert not failures(cache)


def test_hits_of_coroutines_take_no_thread(
    password_manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = password_manager()
    calls = count(1)

    @cache.region("functions")
    async def load(argument: int) -> int:
        return next(calls)

    async def use() -> list[int]:
        given = [await load(1), await load(2)]
        monkeypatch.setattr(threads.of_coroutines, "do", None)
        return [*given, *await asyncio.gather(load(2), load(1))]

    assert asyncio.run(use()) == [1, 2, 2, 1]
    assert not failures(cache)


@pytest.mark.parametrize(
    ("username", "password"), [(USER, "not it"), ("nobody@of-the-tests", PASSWORD)]
)
def test_a_region_that_cannot_sign_in_only_calls(
    password_manager: Manager,
    password_memcached: PasswordMemcached,
    one_line_a_kind: Callable[[CacheManager], None],
    caplog: pytest.LogCaptureFixture,
    username: str,
    password: str,
) -> None:
    cache = password_manager(username=username, password=password, retry=1e-6)
    load = counting(cache)
    assert [load(1) for _ in range(3)] == [1, 2, 3]
    one_line_a_kind(cache)
    assert cache["functions"].stats["failed.server"] == 3
    assert password_memcached.address in caplog.text
    assert "AUTHENTICATION FAILURE" in caplog.text
    assert password not in caplog.text


def test_memcachiers_variables_make_a_region(password_memcached: PasswordMemcached) -> None:
    variables = {
        "MEMCACHIER_SERVERS": password_memcached.address,
        "MEMCACHIER_USERNAME": USER,
        "MEMCACHIER_PASSWORD": PASSWORD,
    }
    config = {"cache.regions": "functions", "cache.timeout": 5, "cache.secret": "of the tests"}
    config |= memcached_options("functions", variables)
    load = counting(CacheManager(**parse_cache_config_options(config)))
    load.invalidate_all()
    assert [load(number) for number in (7, 7, 8, 7)] == [1, 1, 2, 1]


def test_the_check_of_a_server_signs_in(
    password_manager: Manager, password_memcached: PasswordMemcached
) -> None:
    region = password_manager()["functions"]
    (answered,) = health.statuses([(region, password_memcached.address)]).values()
    assert isinstance(answered, dict)
    assert answered["version"]
    assert int(answered["limit_maxbytes"]) == 64 << 20
    assert int(answered["item_size_max"]) == 1 << 20, "one of the settings"
    refused = password_manager(password="not it")["functions"]
    (error,) = health.statuses([(refused, password_memcached.address)]).values()
    assert "AUTHENTICATION FAILURE" in str(error)


def test_a_server_without_passwords_is_not_used(
    memcached: Memcached, one_line_a_kind: Callable[[CacheManager], None]
) -> None:
    cache = make_manager(
        type="ext:memcached", url=memcached.address, username="a", password="b", secret="s"
    )
    load = counting(cache)
    assert [load(1), load(1)] == [1, 2]
    one_line_a_kind(cache)


@pytest.fixture
def own_password_memcached(tmp_path: Path) -> Iterator[PasswordMemcached]:
    """A memcached with a password, of this test alone, to kill and pause."""
    made = PasswordMemcached(tmp_path)
    made.start()
    yield made
    made.kill()


def test_a_server_with_a_password_restarts_and_hangs(
    own_password_memcached: PasswordMemcached, password_manager: Manager
) -> None:
    server = own_password_memcached
    cache = password_manager(url=server.address, timeout=0.5, retry=0.01)
    load = counting(cache)
    carts = cache.values("functions", "carts")
    assert (load(1), load(1)) == (1, 1)
    assert carts.set("one", "before")

    def change(value: str) -> str:
        if value == "before":
            # It numbers its items from 1 again, so old numbers mean other items.
            server.restart()
            assert carts.set("one", "after")
        return f"{value}, updated"

    assert carts.update("one", change) == "after, updated"
    assert (load(1), load(1)) == (2, 2)
    assert not failures(cache)
    server.pause()
    load.invalidate(1)
    assert load(1) == 3
    server.resume()
    until(lambda: load(1) == load(1))
    assert load(1) > 3, "the invalidation was pending"


def test_no_other_request_reads_an_answer_that_breaks_off(
    password_memcached: PasswordMemcached, password_manager: Manager
) -> None:
    proxy = Proxy(password_memcached.port)
    load = counting(password_manager(url=proxy.address, timeout=0.5, retry=1e-6))
    numbers = range(5)
    first = [load(number) for number in numbers]
    proxy.halves = 3
    for number in numbers:
        found = load(number)
        assert found == first[number] or found > max(first)
    assert [load(number) for number in numbers] == [load(number) for number in numbers]
    proxy.close()
