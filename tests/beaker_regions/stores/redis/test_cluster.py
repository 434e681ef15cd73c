"""Entries on a Redis Cluster: while its nodes come and go, and while hash slots move."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions.reports import health
from beaker_regions.runtime import threads
from beaker_regions.stores.redis.cluster import TAGS, slot_of
from tests.beaker_regions.conftest import Calls, make_manager
from tests.redis_cluster import SLOTS
from tests.waiting import stored_value, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beaker_regions import CacheManager
    from tests.redis_cluster import RedisCluster
    from tests.servers import Redis


class Moving:
    """A function's only entry, and its slot, which moves from one node to another. Two managers
    use it as two hosts would: nothing is common to them but the cluster. The second one asks from
    an event loop."""

    def __init__(self, cluster: RedisCluster, calls: Calls) -> None:
        self.cluster = cluster
        own = {"type": "ext:rediscluster", "url": cluster.url, "secret": "of the tests"}
        managers = [make_manager(**own, timeout=5, retry=0.01 + host / 1000) for host in (0, 1)]
        self.here = managers[0]
        self.loop = asyncio.Runner()
        self.load = _loader(managers[0], calls)
        in_loop = _loader(managers[1], calls, in_loop=True)

        def load_there() -> int:
            return int(self.loop.run(in_loop()))

        self.load_there = load_there
        self.load()
        (tag,) = {re.findall(r"{(\d+)}", key)[0] for key in cluster.all_keys()}
        self.slot = slot_of(tag)
        self.source = next(node for node in cluster.masters if self.keys(node))
        self.target = next(node for node in cluster.masters if node is not self.source)

    def keys(self, node: Redis) -> list[str]:
        return self.cluster.keys_at(node, self.slot)

    def begin(self) -> None:
        self.cluster.begin_move(self.slot, self.source, self.target)

    def move(self, keys: list[str]) -> None:
        self.cluster.move_keys(keys, self.source, self.target)

    def stop(self) -> None:
        for node in (self.source, self.target):
            self.cluster.tell(node, f"SETSLOT {self.slot} STABLE")

    def end(self) -> None:
        self.move(self.keys(self.source))
        self.cluster.end_move(self.slot, self.source, self.target)
        self.source, self.target = self.target, self.source


def _loader(cache: CacheManager, calls: Calls, *, in_loop: bool = False) -> Any:
    """Return a cached function, or coroutine function, that returns the number of its loads."""
    decorate = cache.region("functions", tags=["news", "weather"])
    if in_loop:

        async def load() -> int:
            return calls()

        return decorate(load)

    def load() -> int:  # type: ignore[no-redef]
        return calls()

    return decorate(load)


@pytest.fixture
def moving(redis_cluster: RedisCluster, calls: Calls) -> Iterator[Moving]:
    made = Moving(redis_cluster, calls)
    first = made.source
    yield made
    made.loop.close()
    for node in redis_cluster.nodes:
        if node.process is not None:
            node.ask(f"CLUSTER SETSLOT {made.slot} STABLE")
    if made.source is not first:
        made.begin()
        made.end()


def test_entries_are_spread_and_invalidated_at_one_moment(
    redis_cluster: RedisCluster, calls: Calls
) -> None:
    # One node is named, and not one that has all.
    cache = make_manager(
        type="ext:rediscluster", url=redis_cluster.spare.url, secret="of the tests", timeout=5
    )

    @cache.region("functions", tags=["a", "b"])
    def load(key: int) -> int:
        return calls()

    clients = [int(node.info("connected_clients")) for node in redis_cluster.masters]
    first = load.many([(key,) for key in range(60)])
    assert load.many([(key,) for key in range(60)]) == first
    assert all(node.keys() for node in redis_cluster.masters), "each has some"
    load.invalidate(7)
    assert [load(key) for key in range(60)] == [*first[:7], 61, *first[8:]]
    cache.invalidate_tags("a", "b")
    assert min(load(key) for key in range(60)) > 61
    more = [int(node.info("connected_clients")) for node in redis_cluster.masters]
    assert more == [each + 1 for each in clients], "one connection of this thread to each"


def test_the_tags_of_buckets_are_spread_evenly() -> None:
    slots = [slot_of(tag) for tag in TAGS]
    assert [slot * len(TAGS) // SLOTS for slot in slots] == list(range(len(TAGS)))
    assert slot_of("123456789") == 0x31C3, "the example of Redis's specification"


@pytest.mark.parametrize(
    "moved",
    [
        "nothing",
        pytest.param("the record", marks=pytest.mark.slow),
        pytest.param("the generations", marks=pytest.mark.slow),
        "all",
    ],
)
def test_a_slot_that_moves_serves_nothing_old(moving: Moving, moved: str) -> None:
    load, load_there = moving.load, moving.load_there
    assert load_there() == load() == 1
    moving.begin()
    names = {
        "nothing": r"^$",
        "the record": r":[0-9a-f]{40}$",
        "the generations": r":[a-z][0-9a-f]{40}$",
        "all": "",
    }
    moving.move([key for key in moving.keys(moving.source) if re.search(names[moved], key)])
    if moved == "nothing":
        assert load_there() == 1
    moving.here.invalidate_tags("news")
    assert load_there() > 1
    before = load_there()
    load.invalidate()
    assert load() > before
    moving.end()
    fresh = stored_value(load)
    assert load_there() == fresh > before
    load.invalidate()
    assert load_there() > fresh


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("the entry", marks=pytest.mark.slow),
        pytest.param("the function", marks=pytest.mark.slow),
        "two tags",
    ],
)
def test_an_invalidation_during_a_move_that_is_taken_back(moving: Moving, what: str) -> None:
    load, load_there = moving.load, moving.load_there
    assert load_there() == load() == 1
    moving.begin()
    generations = sorted(
        key for key in moving.keys(moving.source) if re.search(r":[a-z]\w{40}$", key)
    )
    moving.move(generations[::2] if what == "two tags" else generations)
    if what == "the entry":
        load.invalidate()
    elif what == "the function":
        load.invalidate_all()
    else:
        moving.here.invalidate_tags("news", "weather")
    source, target = moving.source, moving.target
    moving.cluster.tell(source, f"SETSLOT {moving.slot} STABLE")
    moving.cluster.move_keys(moving.keys(target), target, source)
    moving.cluster.tell(target, f"SETSLOT {moving.slot} STABLE")
    assert load_there() > 1
    assert load() == stored_value(load_there)


def test_a_move_that_the_new_node_knows_nothing_of(moving: Moving) -> None:
    """So it is if a move is taken back after the former node has named the new one."""
    load, cluster = moving.load, moving.cluster
    assert load() == 1
    cluster.tell(moving.source, f"SETSLOT {moving.slot} MIGRATING {cluster.id_of(moving.target)}")
    for invalidate in (load.invalidate, partial(moving.here.invalidate_tags, "news")) * 2:
        before = load()
        invalidate()
        assert load() > before
    moving.stop()
    fresh = stored_value(load)
    load.invalidate()
    assert load() > fresh


def test_nothing_is_stored_where_a_slot_only_may_come_to_lie(moving: Moving) -> None:
    load, load_there = moving.load, moving.load_there
    moving.begin()
    load.invalidate()
    moving.here.invalidate_tags("news")
    assert load() < load() < load_there()
    assert moving.keys(moving.target) == []
    # The move is given up, something changes, and the slot moves after all.
    moving.stop()
    fresh = stored_value(load)
    moving.begin()
    moving.end()
    assert load_there() > fresh, "the generations are the former node's"
    assert load() == stored_value(load_there)


def test_a_slot_that_returns_brings_nothing_old(moving: Moving) -> None:
    load, load_there = moving.load, moving.load_there
    assert load_there() == load() == 1
    moving.begin()
    moving.end()
    load.invalidate()
    moving.begin()
    moving.end()
    assert load_there() == load() == 2


def test_counters_of_a_slot_that_moves(redis_cluster: RedisCluster) -> None:
    cache = make_manager(
        type="ext:rediscluster", url=redis_cluster.url, secret="of the tests", timeout=5
    )
    seen = cache.counter("functions", "seen")
    assert seen.add(5) == 5
    ((node, key),) = [(node, key) for node in redis_cluster.masters for key in sorted(node.keys())]
    slot = slot_of(re.findall(r"{(\d+)}", key)[0])
    target = next(each for each in redis_cluster.masters if each is not node)
    redis_cluster.begin_move(slot, node, target)
    try:
        assert seen.add() == 6
        redis_cluster.move_keys([key], node, target)
        assert (seen.add(), seen.value()) == (7, 7)
        seen.reset()
        assert seen.value() == 0
        assert seen.add() is None, "a new one cannot be stored now"
    finally:
        redis_cluster.end_move(slot, node, target)
        redis_cluster.begin_move(slot, target, node)
        redis_cluster.end_move(slot, target, node)


def test_hits_of_coroutines_take_no_thread(
    redis_cluster: RedisCluster, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_manager(
        type="ext:rediscluster", url=redis_cluster.url, secret="of the tests", timeout=5
    )

    @cache.region("functions", tags=["news"])
    async def load(key: int) -> int:
        return calls()

    async def loads() -> list[int]:
        return list(await asyncio.gather(*(load(key) for key in range(20))))

    async def main() -> list[int]:
        first = await loads()
        assert await loads() == first
        with monkeypatch.context() as patch:
            patch.setattr(threads.of_coroutines, "do", _no_thread)
            patch.setattr(threads, "do_apart", _no_thread)
            assert await loads() == first
        await asyncio.to_thread(cache.invalidate_tags, "news")
        again = await loads()
        assert min(again) > max(first)
        return again

    again = asyncio.run(main())
    # The next loop uses the same connections.
    clients = [int(node.info("connected_clients")) for node in redis_cluster.masters]
    assert asyncio.run(loads()) == again
    more = [int(node.info("connected_clients")) for node in redis_cluster.masters]
    assert more == clients


def _no_thread(*_: Any, **__: Any) -> None:
    raise AssertionError("a thread is used")


def test_a_single_server_is_no_cluster_and_a_node_no_single_server(
    redis_cluster: RedisCluster, redis: Redis, calls: Calls
) -> None:
    node = redis_cluster.masters[0].url
    for type_, url in [("ext:redis", node), ("ext:rediscluster", redis.url)]:
        cache = make_manager(type=type_, url=url, secret="of the tests", timeout=5)
        load = _loader(cache, calls)
        assert load() < load()
        region = cache["functions"]
        assert region.stats["failed.server"] > 0
        found = [each.message for each in health.check([region])[region]]
        assert any("Redis Cluster: set the type to 'ext:redis" in each for each in found)


def test_its_nodes_are_checked(redis_cluster: RedisCluster) -> None:
    url = redis_cluster.masters[0].url
    cache = make_manager(type="ext:rediscluster", url=url, secret="of the tests", timeout=5)
    region = cache["functions"]
    assert set(health.servers_of(region)) == {node.address for node in redis_cluster.nodes}
    found = {each.subject: each for each in health.check([region])[region] if each.level == "ok"}
    assert {node.address for node in redis_cluster.nodes} <= set(found)


# These end nodes, so they are the last ones.


def test_a_node_that_hangs_affects_only_its_own_entries(
    redis_cluster: RedisCluster, calls: Calls
) -> None:
    cache = make_manager(
        type="ext:rediscluster",
        url=redis_cluster.url,
        secret="of the tests",
        timeout=0.5,
    )

    @cache.region("functions")
    def load(key: int) -> int:
        return calls()

    first = [load(key) for key in range(60)]
    hanging = redis_cluster.masters[1]
    hanging.pause()
    try:
        again = [load(key) for key in range(60)]
        same = [before == after for before, after in zip(first, again, strict=True)]
        assert 20 < sum(same) < 60
        load.invalidate_all()
        assert min(load(key) for key in range(60)) > max(again)
    finally:
        hanging.resume()
    last = [stored_value(partial(load, key)) for key in range(60)]
    assert min(last) > max(again)


def test_a_replica_that_lost_the_last_writes_and_is_promoted(moving: Moving) -> None:
    cluster, load = moving.cluster, moving.load
    replica, master = cluster.spare, moving.source
    cluster.tell(replica, f"REPLICATE {cluster.id_of(master)}")
    until(lambda: replica.info("role") == "slave" and replica.info("master_link_status") == "up")
    # The first replica changed the id of the master's history.
    until(lambda: moving.load_there() == load() == moving.load_there())
    before = load()
    until(lambda: replica.info("slave_repl_offset") == master.info("master_repl_offset"))
    replica.pause()
    load.invalidate()
    assert load() > before
    master.kill()
    replica.resume()
    cluster.tell(replica, "FAILOVER TAKEOVER")
    assert moving.keys(replica), "with the generations from before"
    fresh = stored_value(load)
    assert moving.load_there() == fresh > before + 1
    # The former master begins again as the replica of its own replica.
    master.start()
    until(lambda: master.info("role") == "slave" and master.info("master_link_status") == "up")
    assert load() == fresh
    cluster.masters.remove(master)
    cluster.masters.append(replica)
    moving.source = replica
    assert cluster.role_of(master) == "slave"
