"""No read that starts after an invalidation sees an older value: real processes, real stores.

Readers and writers race over a few entries. A writer changes the truth, invalidates, and then
announces the version; a reader notes the announced version, calls, and must get that version or a
newer one. Loads take from no time to longer than the lease.
"""

from __future__ import annotations

import itertools
import multiprocessing
import random
import re
import shutil
import socket
import time
import urllib.parse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from beaker_regions.stores.redis.cluster import slot_of
from tests.beaker_regions.conftest import ON_REDIS, REDIS_TYPES, make_manager, redis_options

if TYPE_CHECKING:
    from pathlib import Path

    from beaker_regions import CacheManager
    from tests.redis_cluster import RedisCluster
    from tests.servers import Memcached

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])

LEASE = 0.03
"""Seconds."""
KEYS = 3
READERS = 4

Options = dict[str, Any]


class Shared(NamedTuple):
    """The shared state of the processes of a race."""

    truth: Any
    """The version of each key."""
    announced: Any
    """The version of each key whose invalidation has returned."""
    stop: Any


def invalidate(way: str, cache: CacheManager, load: Any, key: int) -> None:
    ways: dict[str, Callable[[], None]] = {
        "entry": lambda: load.invalidate(key),
        "function": load.invalidate_all,
        "tag": lambda: cache.invalidate_tags(f"key:{key}"),
        "region": lambda: cache.invalidate_region("functions"),
        "beaker": lambda: cache.region_invalidate(load, "functions", key),
        "refresh": lambda: load.refresh(key),
    }
    ways[way]()


WAYS = ("entry", "function", "tag", "region", "beaker", "refresh")


def decorated(options: Options, shared: Shared) -> tuple[CacheManager, Any]:
    cache = make_manager(**options)

    @cache.region("functions", tags=["key:{key}"])
    def load(key: int) -> int:
        version: int = shared.truth[key]
        # The value that was read arrives later, and may be stale when it is stored.
        if random.random() < 0.7:
            time.sleep(random.choice([0.001, LEASE / 4, LEASE * 1.5]))
        return version

    return cache, load


def read(options: Options, shared: Shared, report: Any) -> None:
    cache, load = decorated(options, shared)
    reads = stale = 0
    while not shared.stop.is_set():
        key = random.randrange(KEYS)
        announced = shared.announced[key]
        reads += 1
        stale += load(key) < announced
    report.put((reads, cache["functions"].stats["hits"], stale))


def write(options: Options, shared: Shared, way: str, times: int) -> None:
    cache, load = decorated(options, shared)
    for _ in range(times):
        key = random.randrange(KEYS)
        with shared.truth.get_lock():
            shared.truth[key] += 1
            version = shared.truth[key]
        invalidate(way, cache, load, key)
        with shared.announced.get_lock():
            shared.announced[key] = max(shared.announced[key], version)
        time.sleep(random.uniform(0, 0.03))


def race(
    hosts: Sequence[Options],
    *ways: str,
    writes: int = 40,
    disturb: Callable[[], None] | None = None,
) -> tuple[int, int, int]:
    """Let readers race with one writer for each of ``ways``. They use the hosts with these options
    in turn. Return the numbers of reads, hits and stale reads."""
    shared = Shared(processes.Array("q", KEYS), processes.Array("q", KEYS), processes.Event())
    report = processes.Queue()
    readers = [
        processes.Process(target=read, args=(options, shared, report))
        for _, options in zip(range(READERS), itertools.cycle(hosts), strict=False)
    ]
    writers = [
        processes.Process(target=write, args=(options, shared, way, writes))
        for way, options in zip(ways, itertools.cycle(hosts), strict=False)
    ]
    for process in (*readers, *writers):
        process.start()
    while disturb is not None and any(writer.is_alive() for writer in writers):
        time.sleep(0.05)
        disturb()
    for writer in writers:
        writer.join()
    shared.stop.set()
    reads, hits, stale = (sum(each) for each in zip(*(report.get() for _ in readers), strict=True))
    for process in readers:
        process.join()
    assert [process.exitcode for process in (*readers, *writers)] == [0] * (READERS + len(ways))
    return reads, hits, stale


def file_options(folder: Path) -> Options:
    return {"type": "file", "data_dir": folder, "secret": "of the tests", "lease": LEASE}


def memcached_options(server: Memcached) -> Options:
    return {
        "type": "ext:memcached",
        "url": server.address,
        "secret": "of the tests",
        "lease": LEASE,
        # A busy machine is not an error: this measures the protocol.
        "timeout": 10,
    }


def cluster_options(server: Memcached, *folders: Path, **options: Any) -> list[Options]:
    """Return the options of hosts that have their files in these folders."""
    own = {"cluster": "servers", "servers": {"url": server.address, "timeout": 10, **options}}
    return [file_options(folder) | own for folder in folders]


@pytest.fixture(params=["file", "cluster", "memcached", *ON_REDIS])
def hosts(request: pytest.FixtureRequest, tmp_path: Path) -> list[Options]:
    if request.param in REDIS_TYPES:
        return [redis_options(request) | {"lease": LEASE}]
    if request.param == "file":
        return [file_options(tmp_path)]
    server = request.getfixturevalue("memcached")
    if request.param == "cluster":
        return cluster_options(server, tmp_path / "host", tmp_path / "other")
    return [memcached_options(server)]


@pytest.mark.parametrize("way", WAYS)
def test_no_read_is_older_than_the_invalidation(hosts: list[Options], way: str) -> None:
    reads, hits, stale = race(hosts, way)
    assert hits, "values are shared between the changes"
    assert stale == 0, f"of {reads}"


def test_two_simultaneous_writers(hosts: list[Options]) -> None:
    reads, hits, stale = race(hosts, "tag", "entry")
    assert hits, "nothing was kept"
    assert stale == 0, f"of {reads}"


def test_keys_that_are_evicted_during_the_race(memcached: Memcached) -> None:
    def evict() -> None:
        keys = keys_on(memcached)
        with socket.create_connection(("127.0.0.1", memcached.port)) as connection:
            for key in random.sample(keys, len(keys) // 3):
                connection.sendall(f"delete {key}\r\n".encode())
                connection.recv(100)

    reads, hits, stale = race([memcached_options(memcached)], "tag", disturb=evict)
    assert hits, "nothing was kept"
    assert stale == 0, f"of {reads}"


@pytest.mark.slow
def test_slots_that_move_during_the_race(redis_cluster: RedisCluster, request: Any) -> None:
    own = redis_options(request, "ext:rediscluster") | {"lease": LEASE}

    def move() -> None:
        keys = redis_cluster.all_keys()
        if not keys:
            return
        slot = slot_of(random.choice(keys).split("{")[1].partition("}")[0])
        source = next((n for n in redis_cluster.masters if redis_cluster.keys_at(n, slot)), None)
        if source is None:
            return
        target = random.choice([node for node in redis_cluster.masters if node is not source])
        redis_cluster.begin_move(slot, source, target)
        while here := redis_cluster.keys_at(source, slot):
            redis_cluster.move_keys(random.sample(here, 1), source, target)
            time.sleep(0.01)
        redis_cluster.end_move(slot, source, target)

    reads, hits, stale = race([own], "entry", "tag", writes=150, disturb=move)
    assert hits, "nothing was kept"
    assert stale == 0, f"of {reads}"


def test_a_server_that_restarts_during_the_race(own_memcached: Memcached) -> None:
    def restart() -> None:
        time.sleep(0.3)
        own_memcached.restart()

    # Some processes reach the server again long before others try.
    options = memcached_options(own_memcached) | {"retry": 0.2}
    reads, hits, stale = race([options], "entry", "function", writes=100, disturb=restart)
    assert hits, "nothing was kept"
    assert stale == 0, f"of {reads}"


def test_files_that_are_removed_during_the_race(tmp_path: Path) -> None:
    def remove() -> None:
        found = [path for path in tmp_path.rglob("*") if path.is_file()]
        for path in random.sample(found, len(found) // 3):
            path.unlink(missing_ok=True)
        if random.random() < 0.2:
            shutil.rmtree(tmp_path / "functions", ignore_errors=True)

    reads, hits, stale = race([file_options(tmp_path)], "tag", "entry", disturb=remove)
    assert hits, "nothing was kept"
    assert stale == 0, f"of {reads}"


def keys_on(server: Memcached) -> list[str]:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"lru_crawler metadump all\r\n")
        answer = b""
        # The server may be busy with a lookup of its own.
        while not answer.endswith(b"END\r\n") and not answer.startswith(b"BUSY"):
            answer += connection.recv(65536)
    return re.findall(r"key=(\S+)", urllib.parse.unquote(answer.decode()))
