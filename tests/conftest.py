"""What tests share: servers, and regions that are empty when a test begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.redis_cluster import RedisCluster
from tests.servers import Memcached, Redis

if TYPE_CHECKING:
    from collections.abc import Iterator

# A machine that is busy with tests is not an error.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def _memcached() -> Iterator[Memcached]:
    server = Memcached()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def memcached(_memcached: Memcached) -> Memcached:
    """A memcached that is up and empty, shared by the tests of a run."""
    _memcached.flush()
    return _memcached


@pytest.fixture(scope="session")
def _redis() -> Iterator[Redis]:
    server = Redis()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis(_redis: Redis) -> Redis:
    """A Redis that is up and empty, shared by the tests of a run."""
    _redis.flush()
    return _redis


@pytest.fixture(scope="module")
def _redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def redis_cluster(_redis_cluster: RedisCluster) -> RedisCluster:
    """A Redis Cluster that is up and empty, shared by the tests of a module."""
    _redis_cluster.flush()
    return _redis_cluster


@pytest.fixture
def own_memcached() -> Iterator[Memcached]:
    """A memcached of this test alone, to kill and pause."""
    server = Memcached()
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _fresh_regions(request: pytest.FixtureRequest) -> None:
    """Rows are rolled back or flushed between tests that use the database; so are its regions."""
    if {"db", "transactional_db"} & set(request.fixturenames) or request.node.get_closest_marker(
        "django_db"
    ):
        from beakercache import cache

        for region in cache.options:
            cache.invalidate_region(region)
