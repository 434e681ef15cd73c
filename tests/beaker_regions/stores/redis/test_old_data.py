"""What a server has lost and brings back is never served: snapshots, replicas, full memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.beaker_regions.conftest import Calls, Manager, make_manager

if TYPE_CHECKING:
    from collections.abc import Callable

    from beaker_regions import CacheManager
    from tests.servers import Redis

    Start = Callable[..., Redis]

PATIENCE = 30.0
"""Seconds for which a test waits for a state."""


def follow(replica: Redis, master: Redis) -> None:
    """Make a server the replica of another one, and wait until it has the other's data."""
    assert replica.ask("REPLICAOF", "127.0.0.1", str(master.port)) == b"+OK"
    ends = time.monotonic() + PATIENCE
    while replica.info("master_link_status") != "up":
        assert time.monotonic() < ends
        time.sleep(0.01)


def manager_on(server: Redis, **options: object) -> CacheManager:
    own = {"type": "ext:redis", "url": server.url, "secret": "of the tests", "timeout": 5}
    return make_manager(**{**own, "retry": 0.01, **options})


def loader(cache: CacheManager, calls: Calls) -> Any:
    """Return a cached function that returns the number of its loads."""

    @cache.region("functions", tags=["news"])
    def load() -> int:
        return calls()

    return load


def test_a_snapshot_that_comes_back_brings_no_old_generation_to_life(
    start: Start, calls: Calls
) -> None:
    server = start()
    load = loader(manager_on(server), calls)
    assert (load(), load()) == (1, 1)
    assert server.ask("SAVE") == b"+OK"
    size = server.ask("DBSIZE")
    load.invalidate()
    assert load() == 2
    server.restart()
    assert server.ask("DBSIZE") == size, "the snapshot is there again"
    assert (load(), load()) == (3, 3)
    load.invalidate_all()
    assert (load(), load()) == (4, 4)


def test_a_snapshot_that_comes_back_brings_no_old_value_to_life(start: Start) -> None:
    server = start()
    values = manager_on(server).values("functions", "carts")
    values.set(1, "old")
    assert server.ask("SAVE") == b"+OK"
    values.set(1, "new")
    server.restart()
    assert values.get(1) is None


def test_a_file_of_commands_that_lacks_the_last_one_brings_no_generation_to_life(
    start: Start, calls: Calls
) -> None:
    server = start("--appendonly", "yes", "--appendfsync", "no")
    load = loader(manager_on(server), calls)
    assert (load(), load()) == (1, 1)
    server.restart()
    assert server.ask("DBSIZE") != b":0", "the commands are there again"
    assert (load(), load()) == (2, 2)


def test_a_replica_that_lost_the_last_writes_and_becomes_the_master(
    start: Start, calls: Calls
) -> None:
    master, replica = start(), start()
    load = loader(manager_on(master), calls)
    assert (load(), load()) == (1, 1)
    follow(replica, master)
    replica.pause()
    load.invalidate()
    assert load() == 2
    master.kill()
    replica.resume()
    assert replica.ask("REPLICAOF", "NO", "ONE") == b"+OK"
    assert replica.ask("DBSIZE") != b":0"
    moved = loader(manager_on(replica), calls)
    assert (moved(), moved()) == (3, 3)


def test_a_master_that_became_a_replica_and_the_master_again_while_connected(
    start: Start, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beaker_regions.stores.redis.link.VERIFIED", 0.0)
    first, second = start(), start()
    cache = manager_on(first)
    load = loader(cache, calls)
    assert (load(), load()) == (1, 1)
    follow(second, first)
    assert second.ask("REPLICAOF", "NO", "ONE") == b"+OK"
    load.invalidate()
    assert load() == 2
    follow(first, second)
    assert first.ask("REPLICAOF", "NO", "ONE") == b"+OK"
    assert (load(), load()) == (3, 3), "the first value was there again"
    follow(first, second)
    assert (load(), load()) == (4, 5), "a replica is not read"
    assert cache["functions"].stats["failed.server"] > 0


def test_all_is_forgotten(redis: Redis, redis_manager: Manager, calls: Calls) -> None:
    load = loader(redis_manager(), calls)
    assert (load(), load()) == (1, 1)
    redis.flush()
    assert (load(), load()) == (2, 2)


def test_a_generation_that_was_evicted_invalidates(
    redis: Redis, redis_manager: Manager, calls: Calls
) -> None:
    load = loader(redis_manager(), calls)
    assert (load(), load()) == (1, 1)
    for key in sorted(redis.keys()):
        if key.startswith("brg1:t"):
            redis.ask("DEL", key)
    assert (load(), load()) == (2, 2)


def test_a_server_that_evicts_serves_nothing_old(start: Start, calls: Calls) -> None:
    server = start("--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru")
    cache = manager_on(server)
    truth = {"value": 0}

    @cache.region("functions", tags=["all"])
    def load(key: int) -> tuple[int, bytes]:
        return truth["value"], b"%d" % key * 4000

    for round_ in range(3):
        truth["value"] = round_
        cache.invalidate_tags("all")
        assert {load(key)[0] for key in range(200)} == {round_}
    assert int(server.info("evicted_keys")) > 0


def test_a_full_server_takes_invalidations(start: Start, calls: Calls) -> None:
    server = start("--maxmemory-policy", "noeviction")
    cache = manager_on(server)

    @cache.region("functions", tags=["all"])
    def load(key: int) -> int:
        return calls()

    before = load(1)
    assert load(1) == before
    assert server.ask("CONFIG", "SET", "maxmemory", "1mb") == b"+OK"
    load(2)
    assert cache["functions"].stats["failed.not_taken"] > 0
    cache.invalidate_tags("all")
    assert load(1) > before
    assert server.ask("CONFIG", "SET", "maxmemory", "0") == b"+OK"
    fresh = load(1)
    assert load(1) == fresh > before
