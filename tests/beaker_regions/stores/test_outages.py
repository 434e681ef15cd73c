"""The table of outages: whatever is asked for, however a server fails, alone or beside others.

Each test begins with values stored, makes one server fail, does one operation, and goes on reading
while the server fails and after it is back. What is read is always the rows as they are.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.beaker_regions.conftest import make_manager
from tests.beaker_regions.stores.proxies import Proxy, forward
from tests.servers import Memcached, Redis
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beaker_regions import CacheManager

# -- servers ----------------------------------------------------------------------------------


class Cluster:
    """Three servers. The first is the one to fail: as itself, or as what stands before it."""

    type, scheme = "ext:memcached", ""
    error = b"SERVER_ERROR busy\r\n"

    def __init__(self) -> None:
        self.servers = self.made()
        self.failing = self.servers[0]
        for server in self.servers:
            server.start()
        self.proxy = Proxy(self.failing.port)

    def made(self) -> list[Any]:
        # Of sizes of items it knows few, so that it is soon full.
        return [Memcached("-M", "-m", "2", "-f", "4"), Memcached(), Memcached()]

    def asked(self, server: Any) -> int:
        """Return how often a server was asked for a key."""
        found: int = server.stats()["cmd_get"]
        return found

    def fill(self) -> None:
        """Leave no room on the first server."""
        with socket.create_connection(("127.0.0.1", self.failing.port)) as connection:
            answer, turn = b"", 0
            # Items that were flushed give back their room a little later.
            while b"out of memory" not in answer:
                turn += 1
                assert turn < 10, answer
                for size, room in ((8, 96), (100, 384), (1000, 1536)):
                    value = b"x" * size
                    for number in range(2_000_000 // room):
                        key = b"%d-%d-%d" % (size, number, turn)
                        command = b"set %b 0 0 %d noreply\r\n%b\r\n" % (key, size, value)
                        connection.sendall(command)
                connection.sendall(b"set k%d 0 0 99\r\n%b\r\n" % (turn, b"x" * 99))
                answer = connection.recv(1000)

    def answer_errors(self) -> None:
        self.proxy.answer = lambda request: self.error

    def answer(self) -> None:
        self.proxy.answer = forward

    def answer_half(self) -> None:
        self.proxy.halves = math.inf

    def answer_whole(self) -> None:
        self.proxy.halves = 0


class RedisServers(Cluster):
    """As `Cluster`, of Redis."""

    type, scheme = "ext:redis", "redis://"
    # As many as a request has parts.
    error = b"-LOADING busy\r\n" * 3

    def made(self) -> list[Any]:
        return [Redis() for _ in range(3)]

    def asked(self, server: Any) -> int:
        return sum(int(server.info(f"keyspace_{what}")) for what in ("hits", "misses"))

    def fill(self) -> None:
        assert self.failing.ask("CONFIG SET maxmemory 1") == b"+OK"


@pytest.fixture(
    scope="module", params=[Cluster, pytest.param(RedisServers, marks=pytest.mark.slow)]
)
def _cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    cluster: Cluster = request.param()
    yield cluster
    cluster.proxy.close()
    for server in cluster.servers:
        server.kill()


FAILURES: dict[str, tuple[Callable[[Cluster], None], Callable[[Cluster], None]]] = {
    "refused": (lambda cluster: cluster.failing.kill(), lambda cluster: cluster.failing.start()),
    "hung": (lambda cluster: cluster.failing.pause(), lambda cluster: cluster.failing.resume()),
    "closing half way": (Cluster.answer_half, Cluster.answer_whole),
    "answering errors": (Cluster.answer_errors, Cluster.answer),
    "full": (lambda cluster: cluster.fill(), lambda cluster: cluster.failing.restart()),
}
"""How a failure begins, and how it ends."""


class Outage:
    """One of a number of servers, that fails in one way."""

    def __init__(self, failure: str, cluster: Cluster, size: int) -> None:
        self._begin, self._end = FAILURES[failure]
        self._cluster = cluster
        self._failing = False
        self.servers = cluster.servers[:size]
        direct = failure in ("refused", "hung", "full")
        addresses = [server.address for server in self.servers]
        addresses[0] = addresses[0] if direct else cluster.proxy.address
        self.url = ",".join(cluster.scheme + address for address in addresses)
        self.type = cluster.type
        self.timeout = 0.1 if failure == "hung" else 5

    def begin(self) -> None:
        self._failing = True
        self._begin(self._cluster)

    def end(self) -> None:
        if self._failing:
            self._end(self._cluster)
        self._failing = False

    def owners(self, read: Callable[[int], object], key: int) -> list[int]:
        """Return which server is asked when ``key`` is read. If it did not answer to the last one
        in time, it may be none, or two."""
        asked = list(map(self._cluster.asked, self.servers))
        read(key)
        return [
            number
            for number, server in enumerate(self.servers)
            if self._cluster.asked(server) > asked[number]
        ]

    def asked_elsewhere(self) -> list[int]:
        """Return how often the servers that do not fail have been asked for a key."""
        return list(map(self._cluster.asked, self.servers[1:]))


@pytest.fixture(params=FAILURES)
def failure(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=[1, 3], ids=["alone", "one of three"])
def outage(request: pytest.FixtureRequest, failure: str, _cluster: Cluster) -> Iterator[Outage]:
    for server in _cluster.servers:
        server.flush()
    made = Outage(failure, _cluster, request.param)
    yield made
    made.end()


# -- an application ---------------------------------------------------------------------------


class Rows:
    """Rows that change, read through a cached function."""

    def __init__(self, cache: CacheManager, outage: Outage) -> None:
        self.cache = cache
        self.loads: Counter[int] = Counter()
        self.function = self.decorated()
        self._numbers: Counter[int] = Counter()
        found: dict[int, list[int]] = {}
        for key in itertools.count():
            owners = outage.owners(self.read, key)
            if len(owners) == 1:
                found.setdefault(owners[0], []).append(key)
            if len(found) == len(outage.servers) and len(found[0]) > 1:
                break
        # One key on each server, and one on the failing one whose value is not stored.
        self.elsewhere = {keys[0] for owner, keys in found.items() if owner}
        self.keys = [*found[0][:2], *self.elsewhere]
        self.invalidate(self.keys[0])
        self.loads.clear()

    def decorated(self) -> Any:
        def load(key: int) -> tuple[int, int]:
            return self.load(key)

        return self.cache.region("functions", tags=["all"])(load)

    def load(self, key: int) -> tuple[int, int]:
        self.loads[key] += 1
        return self.now(key)

    def now(self, key: int) -> tuple[int, int]:
        return key, self._numbers[key]

    def change(self) -> None:
        """Change all rows; what was stored of them is old."""
        self._numbers.update(self.keys)

    def read(self, key: int) -> tuple[int, int]:
        value: tuple[int, int] = self.function(key)
        return value

    def invalidate(self, key: int) -> None:
        self.function.invalidate(key)

    def check(self) -> None:
        for key in self.keys:
            assert self.read(key) == self.now(key)

    def loaded(self) -> set[int]:
        """Read all, and return the keys that were loaded for it."""
        self.loads.clear()
        self.check()
        return set(self.loads)


class AwaitedRows(Rows):
    """As `Rows`, through a cached coroutine function."""

    def decorated(self) -> Any:
        async def load(key: int) -> tuple[int, int]:
            return self.load(key)

        return self.cache.region("functions", tags=["all"])(load)

    def read(self, key: int) -> tuple[int, int]:
        return asyncio.run(self.function(key))  # type: ignore[no-any-return]

    def invalidate(self, key: int) -> None:
        asyncio.run(self.function.invalidate(key))


# -- operations -------------------------------------------------------------------------------


def many(rows: Rows) -> None:
    assert rows.function.many(rows.keys) == [rows.now(key) for key in rows.keys]


def peek(rows: Rows) -> None:
    for key in rows.keys:
        assert rows.function.peek(key) in (rows.now(key), None)
    elsewhere = sorted(rows.elsewhere)
    now = [rows.now(key) for key in elsewhere]
    until(lambda: [rows.function.peek(key) for key in elsewhere] == now)


def refresh(rows: Rows) -> None:
    rows.change()
    for key in rows.keys:
        assert rows.function.refresh(key) == rows.now(key)


def invalidate(rows: Rows) -> None:
    rows.change()
    for key in rows.keys:
        rows.function.invalidate(key)


def invalidate_all(rows: Rows) -> None:
    rows.change()
    rows.function.invalidate_all()


def invalidate_tags(rows: Rows) -> None:
    rows.change()
    rows.cache.invalidate_tags("all")


def invalidate_region(rows: Rows) -> None:
    rows.change()
    rows.cache.invalidate_region("functions")


def region_invalidate(rows: Rows) -> None:
    rows.change()
    for key in rows.keys:
        rows.cache.region_invalidate(rows.function, "functions", key)


def deferred_invalidation(rows: Rows) -> None:
    with rows.cache.deferred_invalidation():
        invalidate(rows)
        rows.check()
        invalidate_tags(rows)


def coroutine_function(rows: Rows) -> None:
    async def main() -> None:
        function = rows.function
        rows.change()
        for key in rows.keys:
            await function.invalidate(key)
        assert await function.many(rows.keys) == [rows.now(key) for key in rows.keys]
        rows.change()
        for key in rows.keys:
            assert await function.refresh(key) == rows.now(key)
            assert await function.peek(key) in (rows.now(key), None)
        rows.change()
        await function.invalidate_all()

    asyncio.run(main())


OPERATIONS: dict[str, Callable[[Rows], None]] = {
    "call": Rows.check,
    "many": many,
    "peek": peek,
    "refresh": refresh,
    "invalidate": invalidate,
    "invalidate_all": invalidate_all,
    "invalidate_tags": invalidate_tags,
    "invalidate_region": invalidate_region,
    "region_invalidate": region_invalidate,
    "deferred_invalidation": deferred_invalidation,
    "coroutine function": coroutine_function,
}


# -- the table --------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_failing_server_is_not_the_callers_failure(
    outage: Outage,
    failure: str,
    one_line_a_kind: Callable[[CacheManager], None],
    operation: str,
) -> None:
    # A secret of its own gives each test a store of its own.
    own = {"timeout": outage.timeout, "secret": f"{failure}, {operation}"}
    cache = make_manager(type=outage.type, url=outage.url, retry=0.02, **own)
    form = AwaitedRows if operation == "coroutine function" else Rows
    rows = form(cache, outage)

    outage.begin()
    OPERATIONS[operation](rows)
    rows.check()
    one_line_a_kind(cache)

    # Keys of the other servers keep hitting, and no key moves to them. On a busy machine these
    # servers, too, may once answer after the time-out.
    until(lambda: not rows.elsewhere & rows.loaded(), "keys of other servers do not hit")
    asked = outage.asked_elsewhere()
    for key in set(rows.keys) - rows.elsewhere:
        rows.read(key)
    assert outage.asked_elsewhere() == asked

    outage.end()
    until(lambda: not rows.loaded(), "the server is back and not used")
    assert cache["functions"].stats["waits"] == 0, "nobody else holds a lease"
