"""Beaker's own front on every store: what a namespace promises to `beaker.container.Value`."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from beaker.cache import Cache
from django.db import transaction

from beaker_regions import UnkeyableArgumentError
from beaker_regions.stores.servers.server import stem_of
from tests.beaker_regions.conftest import Calls, Later, Manager, make_manager
from tests.beaker_regions.stores.proxies import Proxy
from tests.servers import Memcached
from tests.waiting import stored_value

CALLERS = 12
LONG = 30.0
"""Seconds; longer than any test."""


@pytest.fixture(params=["file", "cluster", "memcached"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Manager:
    """Make managers of one region, on each store. A busy machine is no fault of a server."""
    url = request.getfixturevalue("memcached").address
    if request.param in ("file", "cluster"):
        own: dict[str, Any] = {"type": "file", "data_dir": tmp_path / "regions"}
        if request.param == "cluster":
            own |= {"cluster": "servers", "servers": {"url": url, "timeout": 5}}
    else:
        own = {"type": "ext:memcached", "url": url, "timeout": 5}
    return lambda **options: make_manager(secret="of the tests", **own, **options)


@pytest.fixture
def namespaces(manager: Manager) -> Any:
    """Make Beaker's caches, of any name, in one region. Options of the region by keyword."""

    def make(name: str = "numbers", **options: Any) -> Any:
        return manager(**options).get_cache_region(name, "functions")

    return make


def evil(marker: Path) -> bytes:
    """Return a pickle that makes a folder when it is loaded."""

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(marker),)

    return pickle.dumps(Evil(), protocol=0)


def test_a_hit_is_one_request(proxy: Proxy, calls: Calls) -> None:
    cache = make_manager(
        type="ext:memcached", url=proxy.address, secret="of the tests", timeout=5
    ).get_cache_region("numbers", "functions")
    assert cache.get("one", createfunc=calls) == 1

    asked: list[tuple[Callable[[], Any], Any]] = [
        (lambda: cache.get("one", createfunc=calls), 1),
        (lambda: cache["one"], 1),
        (lambda: "one" in cache, True),
        (lambda: "none" in cache, False),
    ]
    for ask, answer in asked:
        proxy.requests.clear()
        assert ask() == answer
        assert len(proxy.requests) == 1, proxy.requests
        assert proxy.requests[0].startswith("get ")


def test_values_by_key(namespaces: Any) -> None:
    cache = namespaces()
    values = {
        "a": 1,
        "a b": 2,
        "ab": 3,
        "line\nbreak\r\n": 4,
        "Räikkönen": 5,
        "длинная строка " * 100: 6,
        "": 7,
        "none": None,
        "path": Path("a/path"),
        17: "a number",
    }
    for key, value in values.items():
        assert key not in cache
        cache[key] = value
    assert {key: cache[key] for key in values} == values
    for key in values:
        assert cache.has_key(key)
        assert key in cache.namespace
        del cache[key]
        assert key not in cache
        with pytest.raises(KeyError):
            cache[key]
    with pytest.raises(UnkeyableArgumentError, match="cannot be a key"):
        cache[object()]


def test_clearing_a_namespace_leaves_the_others_alone(namespaces: Any, manager: Manager) -> None:
    one, two = namespaces("one"), namespaces("two")

    @manager().region("functions")
    def load() -> str:
        return "loaded"

    load()
    for cache in (one, two):
        cache["a"], cache["b"] = 1, 2
    one.clear()
    assert ("a" in one, "b" in one) == (False, False)
    assert (two["a"], two["b"]) == (1, 2)
    assert load.peek() == "loaded"
    one["a"] = 3
    assert (one["a"], two["a"]) == (3, 1)
    manager().invalidate_region("functions")
    assert ("a" in one, "a" in two) == (False, False)


def test_clearing_a_namespace_leaves_items_of_others_on_the_server(memcached: Memcached) -> None:
    assert memcached.ask("set theirs 0 0 5\r\nvalue") == b"STORED\r\n"
    cache = make_manager(
        type="ext:memcached", url=memcached.address, secret="of the tests", timeout=5
    ).get_cache_region("numbers", "functions")
    cache["one"] = 1
    cache.clear()
    assert b"value" in memcached.ask("get theirs")


REMOVALS = {
    "remove": lambda cache: cache.remove_value("one"),
    "clear": lambda cache: cache.clear(),
    "put": lambda cache: cache.put("one", "new"),
}


@pytest.mark.parametrize("remove", REMOVALS.values(), ids=REMOVALS)
@pytest.mark.parametrize("expired", [True, False])
def test_a_value_created_before_a_removal_is_never_seen_after_it(
    namespaces: Any, remove: Any, expired: bool
) -> None:
    cache = namespaces()
    creating, proceed = threading.Event(), threading.Event()
    value = "old"

    def create() -> str:
        created = value
        creating.set()
        assert proceed.wait(LONG)
        return created

    if expired:
        cache.put("one", "older", expiretime=0.001)
        time.sleep(0.002)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(cache.get, "one", createfunc=create)
        assert creating.wait(LONG)
        value = "new"
        remove(cache)
        proceed.set()
        assert slow.result() == "old", "its caller asked before the removal"
    assert cache.get("one", createfunc=create) == "new"


@pytest.mark.parametrize("remove", REMOVALS.values(), ids=REMOVALS)
def test_a_reader_that_removes_sees_nothing_old(namespaces: Any, remove: Any) -> None:
    cache = namespaces()
    cache["one"] = "old"
    cache.namespace.acquire_read_lock()
    assert cache["one"] == "old"
    remove(cache)
    assert cache.get("one", createfunc=lambda: "new") == "new"
    cache.namespace.release_read_lock()


def test_readers_and_writers_at_once_never_see_an_old_value(namespaces: Any) -> None:
    cache = namespaces()
    version, removed, done = [0], [0], threading.Event()

    def read() -> int:
        reads = 0
        while not done.is_set():
            before = removed[0]
            assert cache.get("one", createfunc=lambda: version[0]) >= before
            reads += 1
        return reads

    with ThreadPoolExecutor(4) as threads:
        readers = [threads.submit(read) for _ in range(4)]
        try:
            for number in range(1, 200):
                version[0] = number
                cache.remove_value("one") if number % 2 else cache.clear()
                removed[0] = number
        finally:
            done.set()
        assert sum(reader.result() for reader in readers) > 0
    assert cache.get("one", createfunc=lambda: version[0]) == 199


def test_threads_that_ask_at_once_create_once(namespaces: Any, calls: Calls) -> None:
    cache, start = namespaces(), threading.Barrier(8)

    def create() -> int:
        time.sleep(0.1)
        return calls()

    def get(_: int) -> Any:
        start.wait()
        return cache.get("one", createfunc=create)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(get, range(8))) == [1] * 8


def test_a_creation_that_fails_lets_the_next_one_try(namespaces: Any, calls: Calls) -> None:
    cache = namespaces()

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.get("one", createfunc=fail)
    assert cache.get("one", createfunc=calls) == 1
    assert cache.namespace.region.stats["waits"] == 0


def test_a_creation_lock_waits_for_another(namespaces: Any, calls: Calls) -> None:
    cache = namespaces(lease=LONG)
    assert "one" not in cache
    lock, other = (cache.namespace.get_creation_lock("one") for _ in range(2))
    assert lock.acquire()
    assert not other.acquire(wait=False)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(cache.get, "one", createfunc=calls)
        while not cache.namespace.region.stats["waits"]:
            time.sleep(0.001)
        assert calls.count == 0
        lock.release()
        assert waiting.result() == 1


def test_a_waiting_caller_goes_on_when_the_value_is_stored(namespaces: Any, calls: Calls) -> None:
    cache = namespaces(lease=LONG)
    assert "one" not in cache
    lock = cache.namespace.get_creation_lock("one")
    assert lock.acquire()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(cache.get, "one", createfunc=calls)
        while not cache.namespace.region.stats["waits"]:
            time.sleep(0.001)
        cache.put("one", "created")
        try:
            assert waiting.result(LONG / 2) == "created"
        finally:
            lock.release()


def test_callers_do_not_queue_for_values_that_nobody_can_use(namespaces: Any, calls: Calls) -> None:
    """Each creation is invalidated before it ends."""
    cache = namespaces(lease=LONG)
    start = threading.Barrier(CALLERS, timeout=LONG)
    running: list[None] = []
    are_many = threading.Event()

    def create() -> int:
        number = calls()
        running.append(None)
        if number <= 2:
            time.sleep(0.3)
        else:
            if len(running) > CALLERS / 2:
                are_many.set()
            are_many.wait(LONG / 2)
        cache.remove_value("one")
        running.pop()
        return number

    def get(_: int) -> object:
        start.wait()
        return cache.get("one", createfunc=create)

    with ThreadPoolExecutor(CALLERS) as threads:
        assert len(list(threads.map(get, range(CALLERS)))) == CALLERS
    assert are_many.is_set(), "who has waited for two waits no more"


def test_nobody_waits_longer_than_a_lease(namespaces: Any, calls: Calls) -> None:
    cache = namespaces(lease=0.05)
    assert "one" not in cache
    lock = cache.namespace.get_creation_lock("one")
    assert lock.acquire()
    with ThreadPoolExecutor(1) as threads:
        try:
            assert threads.submit(cache.get, "one", createfunc=calls).result(LONG) == 1
        finally:
            lock.release()


def test_an_expired_value_is_created_again(namespaces: Any, calls: Calls, later: Later) -> None:
    cache = namespaces()
    cache.put("one", "old", expiretime=60)
    cache.put("two", "old")
    assert (cache["one"], cache.namespace.has_key("one")) == ("old", True)
    later(90)
    assert ("one" in cache, cache.namespace.has_key("one")) == (False, False)
    assert cache.get("one", createfunc=calls, expiretime=60) == 1
    assert cache["two"] == "old"
    # A value from before Beaker's starttime is as good as expired.
    assert cache.get("two", createfunc=calls, starttime=time.time()) == 2


def test_within_its_grace_the_old_value_is_served_while_one_creates(
    namespaces: Any, calls: Calls, later: Later
) -> None:
    cache = namespaces(grace=LONG)
    creating, proceed = threading.Event(), threading.Event()

    def create() -> str:
        creating.set()
        assert proceed.wait(LONG)
        return "new"

    cache.put("one", "old", expiretime=60)
    later(60)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(cache.get, "one", createfunc=create, expiretime=LONG)
        assert creating.wait(LONG)
        assert cache.get("one", createfunc=calls) == "old"
        proceed.set()
        assert first.result() == "new"
    assert (cache["one"], calls.count) == ("new", 0)


def test_foreign_bytes_are_a_miss_and_never_unpickled(
    namespaces: Any, memcached: Memcached, tmp_path: Path
) -> None:
    cache = namespaces()
    cache["one"] = 1
    address = cache.namespace.entry("one").address.hex()
    forged = evil(tmp_path / "executed")
    files = list((tmp_path / "regions").glob("functions/entries/*/*"))
    for file in files:
        file.write_bytes(forged)
    if not files:
        line = f"set {stem_of('')}{address} 0 0 {len(forged)}\r\n{forged.decode()}"
        assert memcached.ask(line) == b"STORED\r\n"
    assert "one" not in cache
    assert cache.get("one", createfunc=lambda: 2) == 2
    assert cache["one"] == 2
    assert cache.namespace.region.stats["failed.refused"] > 0
    assert not (tmp_path / "executed").exists()


def test_a_server_that_is_gone_fails_no_caller(own_memcached: Memcached, calls: Calls) -> None:
    cache = make_manager(
        type="ext:memcached",
        url=own_memcached.address,
        secret="of the tests",
        timeout=0.5,
        retry=0.01,
    ).get_cache_region("numbers", "functions")
    cache["one"] = "old"
    own_memcached.pause()
    cache.put("two", 2)
    assert "two" not in cache
    assert cache.get("one", createfunc=calls) == 1
    cache.remove_value("one")
    own_memcached.resume()
    assert cache.get("one", createfunc=calls) > 1, "a removed key stays removed"
    assert stored_value(lambda: cache.get("one", createfunc=calls)) > 1
    stats = cache.namespace.region.stats
    assert stats["failed.server"] + stats["failed.away"] > 0


@pytest.mark.django_db(transaction=True)
def test_a_transaction_publishes_nothing_and_removes_at_its_commit(
    namespaces: Any, calls: Calls
) -> None:
    cache = namespaces()
    cache["one"] = "old"
    with transaction.atomic():
        cache.remove_value("one")
        assert cache.get("one", createfunc=calls) == 1, "the transaction uses nothing it removed"
        assert cache.get("two", createfunc=calls) == 2
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(cache.get, "one").result() == "old", "others do until the commit"
    assert ("one" in cache, "two" in cache) == (False, False)


def test_keys_cannot_be_listed(namespaces: Any) -> None:
    with pytest.raises(NotImplementedError, match="digests"):
        namespaces().namespace.keys()


def test_a_region_for_beakers_own_class_by_name_or_object(manager: Manager) -> None:
    region = manager()["functions"]
    Cache("numbers", type="regions", region=region)["one"] = 1
    assert Cache("numbers", type="regions", region="functions")["one"] == 1
