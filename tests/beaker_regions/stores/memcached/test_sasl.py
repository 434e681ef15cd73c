"""Servers that want a name and a password: a real memcached with SASL, and a real password.

The regions are those of processes of their own: once in the life of a process, when pylibmc is
imported, it looks for what signs in, and here some test may have imported it otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions import CacheManager, parse_cache_config_options
from beaker_regions.config.environment import memcached_options
from beaker_regions.runtime import threads
from tests.beaker_regions.conftest import make_manager
from tests.servers import SEARCH_PATH, Memcached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USER, PASSWORD = "somebody@of-the-tests", "open sesame"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memcached]:
    """A memcached that only `USER` may use."""
    folder = tmp_path_factory.mktemp("sasl")
    passwords = str(folder / "passwords")
    user, _, realm = USER.partition("@")
    subprocess.run(
        ["saslpasswd2", "-c", "-p", "-f", passwords, "-a", "memcached", "-u", realm, user],
        input=PASSWORD.encode(),
        env={"PATH": SEARCH_PATH},
        check=True,
    )
    (folder / "memcached.conf").write_text(
        "mech_list: plain\n"
        "pwcheck_method: auxprop\n"
        "auxprop_plugin: sasldb\n"
        f"sasldb_path: {passwords}\n"
    )
    server = Memcached("-S")
    server.environment["SASL_CONF_PATH"] = str(folder)
    server.start()
    yield server
    server.kill()


def elsewhere(run: Callable[..., Any], *args: Any) -> Any:
    """Return what ``run`` returns in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(run, *args).result()


def manager(address: str, username: str, password: str, **options: Any) -> CacheManager:
    return make_manager(
        type="ext:memcached",
        url=address,
        memcache_module="pylibmc",
        username=username,
        password=password,
        timeout=5,
        secret="of the tests",
        **options,
    )


def counting(cache: CacheManager) -> Any:
    """Return a cached function of anything that counts its calls."""
    calls = count(1)

    @cache.region("functions")
    def load(argument: int) -> int:
        return next(calls)

    return load


async def use_in_a_loop(cache: CacheManager) -> list[object]:
    """Use a coroutine function. Returns what it gave; its hits take no thread."""
    calls = count(1)

    @cache.region("functions")
    async def load(argument: int) -> int:
        return next(calls)

    given = [await load(1), await load(2)]
    threads.of_coroutines.do = None  # type: ignore[assignment, method-assign]
    return [*given, *await asyncio.gather(load(2), load(1))]


def use(address: str) -> tuple[list[object], dict[str, int]]:
    """Use a region in many ways. Returns what they gave, and its counters."""
    cache = manager(address, USER, PASSWORD)
    load = counting(cache)
    given = [load(1), load(1), load.many([1, 2])]
    load.invalidate(1)
    given += [load(1), load.peek(1), load(2)]
    load.invalidate_all()
    given += [load(2), *asyncio.run(use_in_a_loop(cache))]
    return given, load.region.stats.snapshot()


def test_a_region_signs_in(server: Memcached) -> None:
    given, counts = elsewhere(use, server.address)
    assert given == [1, 1, [1, 2], 3, 3, 2, 4, 1, 2, 2, 1]
    assert not [event for event in counts if event.startswith("failed")]


def be_refused(address: str, username: str, password: str) -> tuple[list[int], int, list[str]]:
    """Call three times. Returns what that gave, how many failures were counted, and the log."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("beaker_regions").addHandler(handler)
    load = counting(manager(address, username, password, retry=1e-6))
    return [load(1) for _ in range(3)], load.region.stats["failed.server"], lines


@pytest.mark.parametrize(
    ("username", "password"), [(USER, "not it"), ("nobody@of-the-tests", PASSWORD)]
)
def test_a_region_that_cannot_sign_in_only_calls(
    server: Memcached, username: str, password: str
) -> None:
    given, failures, (line,) = elsewhere(be_refused, server.address, username, password)
    assert given == [1, 2, 3]
    assert failures == 3
    assert server.address in line
    assert "AUTHENTICATION FAILURE" in line
    assert password not in line


def use_variables(variables: dict[str, str]) -> list[int]:
    config = {"cache.regions": "functions", "cache.timeout": 5, "cache.secret": "of the tests"}
    config |= memcached_options("functions", variables)
    load = counting(CacheManager(**parse_cache_config_options(config)))
    return [load(number) for number in (7, 7, 8, 7)]


def test_memcachiers_variables_make_a_region(server: Memcached) -> None:
    variables = {
        "MEMCACHIER_SERVERS": server.address,
        "MEMCACHIER_USERNAME": USER,
        "MEMCACHIER_PASSWORD": PASSWORD,
    }
    assert elsewhere(use_variables, variables) == [1, 1, 2, 1]


def connect_at_once(address: str) -> tuple[list[str], bool]:
    """Call in many threads at once, each on a connection of its own. Returns what was raised, and
    whether the environment is unchanged."""
    sys.setswitchinterval(1e-6)
    load = counting(
        make_manager(
            type="ext:memcached",
            url=address,
            memcache_module="pylibmc",
            timeout=5,
            secret="of the tests",
        )
    )
    raised: list[str] = []
    barrier = threading.Barrier(16)

    def call() -> None:
        barrier.wait()
        try:
            load(1)
        except Exception as error:
            raised.append(repr(error))

    before = dict(os.environ)
    for _ in range(20):
        threads = [threading.Thread(target=call) for _ in range(barrier.parties)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return raised, dict(os.environ) == before


def test_threads_that_connect_at_once_raise_nothing(memcached: Memcached) -> None:
    assert elsewhere(connect_at_once, memcached.address) == ([], True)
