"""Entries on memcached servers."""

from __future__ import annotations

import collections
import os
import pickle
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beaker_regions.stores.servers.rendezvous import choose
from tests.beaker_regions.conftest import Calls, Manager
from tests.beaker_regions.stores.proxies import Proxy, SlowNetwork
from tests.servers import Memcached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.mark.parametrize("tags", [[], ["a", "b", "c", "d", "e", "f", "number:{number}"]])
def test_a_hit_is_one_request_whatever_is_checked(
    connected: Manager, proxy: Proxy, calls: Calls, tags: list[str]
) -> None:
    cache = connected(proxy.address)

    @cache.region("functions", tags=tags)
    def load(number: int) -> tuple[int, str]:
        return calls(), "x" * 5000

    load(1)
    proxy.requests.clear()
    for _ in range(10):
        assert load(1)[0] == 1
    assert load.peek(1) == load(1)
    assert [request.split()[0] for request in proxy.requests] == ["get"] * 12


def test_an_invalidation_is_one_request_whatever_it_covers(
    connected: Manager, proxy: Proxy, calls: Calls
) -> None:
    cache = connected(proxy.address)

    @cache.region("functions", tags=["all"])
    def load(number: int) -> int:
        return calls()

    for number in range(10):
        load(number)
    for invalidate in (
        load.invalidate_all,
        lambda: cache.invalidate_tags("all"),
        lambda: cache.invalidate_region("functions"),
        lambda: load.invalidate(1),
    ):
        proxy.requests.clear()
        invalidate()
        assert len(proxy.requests) == 1


# -- records that are not ours ----------------------------------------------------------------


class Harmful:
    """A pickle that leaves a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


class Shelf:
    """The server's contents as somebody else sees and changes them."""

    def __init__(self, server: Memcached) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port))
        self._file = self._socket.makefile("rwb")

    def set(self, key: str, value: bytes, flags: int = 0) -> None:
        self._file.write(b"set %b %d 0 %d\r\n%b\r\n" % (key.encode(), flags, len(value), value))
        self._file.flush()
        assert self._file.readline() == b"STORED\r\n"

    def get(self, key: str) -> bytes:
        self._file.write(b"get %b\r\n" % key.encode())
        self._file.flush()
        size = int(self._file.readline().split()[3])
        value = self._file.read(size)
        assert self._file.read(7) == b"\r\nEND\r\n"
        return value

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def shelf(memcached: Memcached) -> Iterator[Shelf]:
    made = Shelf(memcached)
    yield made
    made.close()


def records_of(proxy: Proxy) -> list[str]:
    """The keys under which records were stored through the proxy."""
    return [request.split()[1] for request in proxy.requests if request.startswith("set ")]


@pytest.mark.parametrize("flags", [0, 1, 8, 9], ids=["plain", "pickled", "compressed", "both"])
def test_a_foreign_pickle_is_never_unpickled(
    connected: Manager, proxy: Proxy, shelf: Shelf, calls: Calls, tmp_path: Path, flags: int
) -> None:
    cache = connected(proxy.address)

    @cache.region("functions")
    def load() -> int:
        return calls()

    assert load() == 1
    (key,) = records_of(proxy)
    shelf.set(key, pickle.dumps(Harmful(tmp_path / "harm")), flags)
    assert load() == 2
    assert load() in (2, 3), "libmemcached may take a bad compression for the server's failure"
    assert not (tmp_path / "harm").exists()
    assert any(event.startswith("failed.") for event in cache["functions"].stats.snapshot())


def test_a_record_of_another_entry_or_secret_is_refused(
    connected: Manager, proxy: Proxy, shelf: Shelf
) -> None:
    def load(number: int) -> int:
        return number

    cache = connected(proxy.address)
    ours = cache.region("functions")(load)
    theirs = connected(proxy.address, secret="of somebody else").region("functions")(load)
    assert (ours(1), ours(2)) == (1, 2)
    first, second = records_of(proxy)
    shelf.set(first, shelf.get(second))
    assert ours(1) == 1
    counted = cache["functions"].stats["failed.refused"]
    assert counted > 0
    assert theirs(2) == 2, "under the same key, with another secret"
    assert ours(2) == 2
    assert cache["functions"].stats["failed.refused"] > counted
    assert cache["functions"].stats["loads"] == 4


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_damaged_record_is_a_miss_and_is_counted(
    connected: Manager, shelf: Shelf, proxy: Proxy, data: Any
) -> None:
    cache = connected(proxy.address)
    load = cache.region("functions")(text)
    load.invalidate()
    assert load() == text.__name__
    stats = cache["functions"].stats
    key = records_of(proxy)[-1]
    sealed = bytearray(shelf.get(key))
    if data.draw(st.booleans()):
        # The fourth byte is the format's number: with another one it is another release's record.
        at = data.draw(st.integers(0, len(sealed) - 1).filter(lambda at: at != 3))
        sealed[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del sealed[data.draw(st.integers(0, len(sealed) - 1)) :]
    shelf.set(key, bytes(sealed))
    assert load() == text.__name__
    assert stats["failed.refused"] > 0
    assert stats["loads"] == 2
    assert load() == text.__name__
    assert stats["hits"] == 1


def text() -> str:
    return "text"


# -- several servers --------------------------------------------------------------------------


def test_a_server_that_is_away_affects_only_its_own_entries(
    connected: Manager, memcached: Memcached, server: Memcached, calls: Calls
) -> None:
    cache = connected([memcached.address, server.address], retry=60)

    @cache.region("functions")
    def load(number: int) -> int:
        return calls()

    before = [load(number) for number in range(100)]
    assert [load(number) for number in range(100)] == before
    server.kill()
    now = [load(number) for number in range(100)]
    moved = [number for number in range(100) if now[number] != before[number]]
    assert 20 < len(moved) < 80
    again = [load(number) for number in range(100)]
    assert [number for number in range(100) if again[number] != now[number]] == moved, (
        "nothing of a server that is away is kept on another"
    )


def test_an_invalidation_is_two_messages_to_each_of_several_servers(
    connected: Manager, memcached: Memcached, server: Memcached, calls: Calls
) -> None:
    proxies = [Proxy(each.port) for each in (memcached, server)]
    cache = connected([proxy.address for proxy in proxies])

    @cache.region("functions", tags=["all"])
    def load(number: int) -> int:
        return calls()

    for invalidate, requests in (
        (load.invalidate_all, [2, 2]),
        (lambda: cache.invalidate_tags("all"), [2, 2]),
        # What is one entry needs no tombstone.
        (lambda: load.invalidate(1), [1, 1]),
    ):
        load(1)
        for proxy in proxies:
            proxy.requests.clear()
        invalidate()
        assert [len(proxy.requests) for proxy in proxies] == requests


@pytest.mark.parametrize("servers", [1, 2])
def test_thousands_of_generations_are_changed_in_few_messages(
    connected: Manager, memcached: Memcached, server: Memcached, calls: Calls, servers: int
) -> None:
    """Over a network, where each message takes its time; else what was announced to the first
    servers ends before the last are invalidated."""
    networks = [
        SlowNetwork(each.port, lambda: time.sleep(0.003)) for each in (memcached, server)[:servers]
    ]
    cache = connected([network.address for network in networks])

    @cache.region("functions", tags=["number:{number}"])
    def load(number: int) -> int:
        return calls()

    before = load.many(range(20))
    for network in networks:
        network.messages = 0
    sets = sum(each.stats()["cmd_set"] for each in (memcached, server))
    cache.invalidate_tags(*(f"number:{number}" for number in range(3000)))
    asked = sum(each.stats()["cmd_set"] for each in (memcached, server)) - sets
    assert asked == 2 * 3000 * servers, "none of them had to be announced again"
    # A message that is large may arrive in pieces.
    assert max(network.messages for network in networks) < 100
    assert min(load.many(range(20))) > max(before)
    for network in networks:
        network.close()


def test_several_servers_are_asked_and_invalidated_at_once(connected: Manager) -> None:
    servers = [Memcached() for _ in range(10)]
    for server in servers:
        server.start()
    networks = [SlowNetwork(server.port, int) for server in servers]
    cache = connected([network.address for network in networks], timeout=60)

    @cache.region("functions", tags=["all"])
    def load(number: int) -> int:
        return number

    # No message arrives before one to each server is on its way.
    all_at_once = threading.Barrier(len(servers), timeout=30)

    def count(ask: Callable[[], object]) -> set[int]:
        """Return how many messages each server got."""
        for network in networks:
            network.messages, network.wait = 0, all_at_once.wait
        ask()
        assert not all_at_once.broken, "one after the other"
        return {network.messages for network in networks}

    store, entries = cache["functions"].store, [load.entry(number) for number in range(100)]
    store.read_many(entries)
    assert count(lambda: cache.invalidate_tags("all")) == {2}
    assert count(lambda: store.read_many(entries)) == {1}
    for server, network in zip(servers, networks, strict=True):
        network.close()
        server.kill()


def test_known_answers_of_several_servers_are_compared_with_what_these_give_now(
    connected: Manager, memcached: Memcached, server: Memcached, calls: Calls
) -> None:
    addresses = [memcached.address, server.address]
    cache, other_host = connected(addresses, retry=60), connected(addresses)

    @cache.region("functions", tags=["number:{number}"])
    def load(number: int) -> int:
        return calls()

    numbers = list(range(20))
    before = [load.many(numbers) for _ in range(5)][-1]
    assert before == [number + 1 for number in numbers]
    other_host.invalidate_tags("number:5")
    now = load.many(numbers)
    assert [number for number in numbers if now[number] != before[number]] == [5]
    server.kill()
    now = load.many(numbers)
    assert 3 < sum(mine != other for mine, other in zip(now, before, strict=True)) < 18


def test_invalidations_reach_every_server(
    connected: Manager, memcached: Memcached, server: Memcached, calls: Calls
) -> None:
    cache = connected([memcached.address, server.address])

    @cache.region("functions", tags=["all"])
    def load(number: int) -> int:
        return calls()

    newest = 0
    for invalidate in (
        lambda: None,
        load.invalidate_all,
        lambda: cache.invalidate_tags("all"),
        lambda: cache.invalidate_region("functions"),
        lambda: list(map(load.invalidate, range(20))),
    ):
        invalidate()
        values = [load(number) for number in range(20)]
        assert min(values) > newest
        newest = max(values)


@pytest.mark.parametrize("apart", [("", "?weight=0"), ("?weight=0", "")])
def test_servers_come_and_go_while_hosts_disagree_about_them(
    connected: Manager,
    memcached: Memcached,
    server: Memcached,
    calls: Calls,
    apart: tuple[str, str],
) -> None:
    def load(number: int) -> int:
        return calls()

    read, invalidate = (
        connected([memcached.address, server.address + weight]).region("functions")(load)
        for weight in apart
    )
    before = [read(number) for number in range(40)]
    assert [read(number) for number in range(40)] == before
    for number in range(40):
        invalidate.invalidate(number)
    assert min(read(number) for number in range(40)) > max(before)


@pytest.mark.parametrize("apart", [("", "?weight=0"), ("?weight=0", "")])
def test_a_value_that_was_replaced_is_gone_on_the_server_of_another_host(
    connected: Manager, memcached: Memcached, server: Memcached, apart: tuple[str, str]
) -> None:
    one, other = (
        connected([memcached.address, server.address + weight]).values(
            "functions", "carts", expire=60
        )
        for weight in apart
    )
    for number in range(40):
        assert one.set(number, "old")
        assert one.get(number) == "old"
        if number % 2:
            assert other.set(number, "new")
        else:
            assert other.update(number, lambda cart: "new") == "new"
        assert other.get(number) == "new"
        assert one.get(number) in (None, "new")


@pytest.mark.parametrize("servers", [1, 3, 10])
def test_a_server_more_moves_its_share_of_the_entries_and_nothing_else(servers: int) -> None:
    old = {f"10.0.0.{number}:11211": 1.0 for number in range(servers)}
    new = old | {"10.0.1.1:11211": 1.0}
    addresses = [os.urandom(20) for _ in range(20_000)]
    after = [choose(new, address) for address in addresses]
    moved = [
        now
        for was, now in zip((choose(old, a) for a in addresses), after, strict=True)
        if was != now
    ]
    assert set(moved) == {"10.0.1.1:11211"}
    assert len(moved) / len(addresses) == pytest.approx(1 / (servers + 1), rel=0.15)
    assert max(collections.Counter(after).values()) < 1.15 * len(addresses) / len(new)


def test_a_servers_share_is_that_of_its_weight() -> None:
    weights = {"10.0.0.1:11211": 1.0, "10.0.0.2:11211": 2.0, "10.0.0.3:11211": 5.0}
    shares = collections.Counter(choose(weights, os.urandom(20)) for _ in range(40_000))
    for server, weight in weights.items():
        assert shares[server] / 40_000 == pytest.approx(weight / 8, rel=0.1)
