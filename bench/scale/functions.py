"""What hits, multi-gets and invalidations of cached functions take, of processes and servers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import beaker_regions
from bench.contenders import EXPIRE, PATIENCE, processes
from bench.scale.servers import connected, memcached, spent
from tests.beaker_regions.stores.proxies import Proxy, SlowNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from beaker_regions.api.function import CachedFunction
    from tests.servers import Memcached

KEYS = 10
FRAGMENTS = 50
ROWS = [(number, f"Task number {number}", False) for number in range(50)]
FRAGMENT = "<li>Task number 0</li>" * 10
HIT, RARE, MANY = "a hit", "a hit every 2 ms", f"many of {FRAGMENTS}"
TAG, CALL, MISS = "a tag invalidated", "a call invalidated", "a call invalidated, and loaded again"


def a_cache(addresses: Sequence[str]) -> beaker_regions.CacheManager:
    options = {
        "type": "ext:memcached",
        "url": ",".join(addresses),
        "expire": EXPIRE,
        "secret": "of the measurements",
        # A busy machine is no fault of a server.
        "timeout": 3,
    }
    options_of_region = {f"cache.scale.{name}": value for name, value in options.items()}
    return beaker_regions.CacheManager(
        **beaker_regions.parse_cache_config_options({"cache.regions": "scale", **options_of_region})
    )


def rows_of(cache: beaker_regions.CacheManager) -> CachedFunction[[int], Any]:
    @cache.region("scale")
    def rows(_: int) -> Any:
        return ROWS

    found: CachedFunction[[int], Any] = rows
    return found


class Hits(NamedTuple):
    """What some processes, each of one thread, did in some time."""

    a_second: float
    client_cpu: float
    """Seconds of processor time a hit, of the process that asks."""
    server_cpu: float
    """The same of memcached."""
    seconds: float
    """From a call to its answer."""
    keys: float
    bytes_in: float
    """That the server receives for a hit, its connections' first ones not counted."""
    bytes_out: float
    connections: int


def hit(address: str, seconds: float, gate: Any, results: Any) -> None:
    call = rows_of(a_cache([address]))
    for key in range(KEYS):
        assert call(key) == ROWS
    gate.wait(PATIENCE)  # all are there
    gate.wait(PATIENCE)  # and are counted
    count, cpu, started = 0, time.process_time(), time.perf_counter()
    ends = started + seconds
    while (now := time.perf_counter()) < ends:
        for key in range(KEYS):
            call(key)
        count += KEYS
    results.put((count, time.process_time() - cpu, now - started))
    gate.wait(PATIENCE)  # connections are counted


def hits(number: int, seconds: float) -> Hits:
    """Let ``number`` processes call a cached function for some seconds."""
    gate, results = processes.Barrier(number + 1), processes.Queue()
    with memcached(1) as servers:
        children = [
            processes.Process(
                target=hit, args=(servers[0].address, seconds, gate, results), daemon=True
            )
            for _ in range(number)
        ]
        for child in children:
            child.start()
        gate.wait(PATIENCE)
        before = spent(servers)
        gate.wait(PATIENCE)
        done = [results.get(timeout=PATIENCE) for _ in children]
        used = spent(servers) - before
        connections = connected(servers[0])
        gate.wait(PATIENCE)
        for child in children:
            child.join()
    count = sum(made for made, _, _ in done)
    return Hits(
        a_second=sum(made / taken for made, _, taken in done),
        client_cpu=sum(cpu for _, cpu, _ in done) / count,
        server_cpu=used.cpu / count,
        seconds=sum(taken for _, _, taken in done) / count,
        keys=used.keys / count,
        bytes_in=used.bytes_in / count,
        bytes_out=used.bytes_out / count,
        connections=connections,
    )


class Work(NamedTuple):
    """What one operation of one process takes on some servers."""

    what: str
    servers: int
    a_second: float
    seconds: float
    round_trips: int
    server_cpu: float
    """Seconds of processor time, of all servers together."""
    keys: float
    bytes_in: float
    bytes_out: float


def operations(cache: beaker_regions.CacheManager) -> dict[str, Callable[[], object]]:
    """Return what is measured over several servers, ready to be done again and again."""
    rows = rows_of(cache)

    @cache.region("scale")
    def fragment(_: int) -> str:
        return FRAGMENT

    numbers = list(range(FRAGMENTS))

    def rare() -> None:
        rows(0)
        time.sleep(0.002)

    def miss() -> None:
        rows.invalidate(0)
        rows(0)

    calls: dict[str, Callable[[], object]] = {
        HIT: lambda: rows(0),
        RARE: rare,
        MANY: lambda: fragment.many(numbers),
        TAG: lambda: cache.invalidate_tags("list:1"),
        CALL: lambda: rows.invalidate(0),
        MISS: miss,
    }
    for call in calls.values():
        call()
    return calls


def works(number: int, seconds: float) -> list[Work]:
    """Do each operation for some seconds, on ``number`` servers."""
    done = []
    with memcached(number) as servers:
        trips = round_trips(servers)
        for what, call in operations(a_cache([server.address for server in servers])).items():
            call()
            before, count, started = spent(servers), 0, time.perf_counter()
            while (now := time.perf_counter()) < started + seconds:
                call()
                count += 1
            used, taken = spent(servers) - before, now - started
            done.append(
                Work(
                    what,
                    number,
                    a_second=count / taken,
                    seconds=taken / count,
                    round_trips=trips[what],
                    server_cpu=used.cpu / count,
                    keys=used.keys / count,
                    bytes_in=used.bytes_in / count,
                    bytes_out=used.bytes_out / count,
                )
            )
    return done


def round_trips(servers: Sequence[Memcached]) -> dict[str, int]:
    """Return how often each operation asks, all servers together."""
    proxies = [Proxy(server.port) for server in servers]
    counts = {}
    for what, call in operations(a_cache([proxy.address for proxy in proxies])).items():
        call()
        for proxy in proxies:
            proxy.requests.clear()
        call()
        counts[what] = sum(len(proxy.requests) for proxy in proxies)
    for proxy in proxies:
        proxy.close()
    return counts


WAIT = 0.02
"""Seconds for which a message to a server is on its way, where rounds are counted."""


class Rounds(NamedTuple):
    """How often an operation waits for servers, all of which are as far away."""

    what: str
    servers: int
    requests: int
    """To all servers together."""
    seconds: float
    """The least of some times."""

    @property
    def rounds(self) -> float:
        """How many round trips follow one another."""
        return self.seconds / WAIT


def rounds(number: int, times: int) -> list[Rounds]:
    """Do each operation some times, on ``number`` servers behind a slow network."""
    with memcached(number) as servers:
        networks = [SlowNetwork(server.port, lambda: time.sleep(WAIT)) for server in servers]
        calls = operations(a_cache([network.address for network in networks]))
        done = []
        for what in (HIT, MANY, TAG, CALL):
            calls[what]()
            taken = []
            for _ in range(times):
                for network in networks:
                    network.messages = 0
                started = time.perf_counter()
                calls[what]()
                taken.append(time.perf_counter() - started)
            requests = sum(network.messages for network in networks)
            done.append(Rounds(what, number, requests, min(taken)))
        for network in networks:
            network.close()
    return done
