"""Every promise is tested on every store: files, and a real memcached."""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import beaker.cache
import pytest

from beaker_regions import CacheManager, parse_cache_config_options
from beaker_regions.engine import invalidation
from beaker_regions.engine import region as region_module
from beaker_regions.engine.region import all_regions
from beaker_regions.stores import opening
from beaker_regions.telemetry import maintenance, recorder
from tests.beaker_regions.stores.proxies import Proxy
from tests.servers import Memcached, PasswordMemcached, Redis

if TYPE_CHECKING:
    from pathlib import Path

    from tests.redis_cluster import RedisCluster

Manager = Callable[..., CacheManager]
Later = Callable[[float], None]

_QUICK = ("engine", "redis")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the tests that run on every store, those of the engine run on Redis in the quick run."""
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if parameters.get("manager") == "redis_manager" and item.path.parent.name not in _QUICK:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    """Stores live as long as the process, with what they have open; those of a test as long as
    that."""
    known, regions = set(opening.opened), set(beaker.cache.cache_regions)
    alive = set(all_regions())
    yield
    for identity in set(opening.opened) - known:
        del opening.opened[identity]
    for name in set(beaker.cache.cache_regions) - regions:
        del beaker.cache.cache_regions[name]
    for region in set(all_regions()) - alive:
        region_module._regions.discard(region)


@pytest.fixture(autouse=True)
def _without_django(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that use no database test the library as it is without Django."""
    uses_database = request.node.get_closest_marker("django_db")
    if not uses_database and {"db", "transactional_db"}.isdisjoint(request.fixturenames):
        monkeypatch.setattr(invalidation, "transactions", invalidation.NoTransactions())


@pytest.fixture
def nothing_in_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is swept once a minute, so that a test that sweeps finds all that is left."""
    monkeypatch.setattr(maintenance, "when_due", lambda *_: None)


@pytest.fixture
def file_manager(tmp_path: Path) -> Manager:
    """Make managers of one region "functions" on files; options are given by keyword."""
    return lambda **options: make_manager(
        type="file", data_dir=tmp_path / "regions", secret="of the tests", **options
    )


@pytest.fixture
def memcached_manager(memcached: Memcached) -> Manager:
    """As `file_manager`, on a real memcached that is empty."""
    own = {"type": "ext:memcached", "url": memcached.address}
    return lambda **options: make_manager(**{"secret": "of the tests", **own, **options})


@pytest.fixture(scope="session")
def _password_memcached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PasswordMemcached]:
    made = PasswordMemcached(tmp_path_factory.mktemp("sasl"))
    made.start()
    yield made
    made.kill()


@pytest.fixture
def password_memcached(_password_memcached: PasswordMemcached) -> PasswordMemcached:
    """A memcached that wants a password and is empty, shared by the tests of a run."""
    _password_memcached.flush()
    return _password_memcached


@pytest.fixture
def password_manager(password_memcached: PasswordMemcached) -> Manager:
    """As `memcached_manager`, on a real memcached that wants a password."""
    own = {"type": "ext:memcached", "url": password_memcached.address}
    own |= {"username": PasswordMemcached.USER, "password": PasswordMemcached.PASSWORD}
    return lambda **options: make_manager(**{"secret": "of the tests", **own, **options})


@pytest.fixture
def redis_manager(redis: Redis) -> Manager:
    """As `memcached_manager`, on a real Redis."""
    own = {"type": "ext:redis", "url": redis.url, "timeout": 5}
    return lambda **options: make_manager(**{"secret": "of the tests", **own, **options})


@pytest.fixture
def redis_cluster_manager(redis_cluster: RedisCluster) -> Manager:
    """As `memcached_manager`, on a real Redis Cluster."""
    own = {"type": "ext:rediscluster", "url": redis_cluster.url, "timeout": 5}
    return lambda **options: make_manager(**{"secret": "of the tests", **own, **options})


@pytest.fixture
def cluster_manager(file_manager: Manager, memcached: Memcached) -> Manager:
    """As `file_manager`, with generations and leases on a real memcached that is empty."""
    return functools.partial(file_manager, cluster="servers", servers={"url": memcached.address})


@pytest.fixture
def cluster_on_redis_manager(file_manager: Manager, redis: Redis) -> Manager:
    """As `cluster_manager`, on a real Redis."""
    servers = {"type": "ext:redis", "url": redis.url}
    return functools.partial(file_manager, cluster="servers", servers=servers)


@pytest.fixture(
    params=[
        "file_manager",
        "cluster_manager",
        pytest.param("cluster_on_redis_manager", marks=pytest.mark.slow),
    ]
)
def files_manager(request: pytest.FixtureRequest) -> Manager:
    """As `file_manager`, on each store that keeps content in a folder."""
    made: Manager = request.getfixturevalue(request.param)
    return made


@pytest.fixture(
    params=[
        "file_manager",
        "cluster_manager",
        "memcached_manager",
        pytest.param("password_manager", marks=pytest.mark.slow),
        "redis_manager",
        pytest.param("redis_cluster_manager", marks=pytest.mark.slow),
        pytest.param("cluster_on_redis_manager", marks=pytest.mark.slow),
    ]
)
def manager(request: pytest.FixtureRequest) -> Manager:
    made: Manager = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def cache(manager: Manager) -> CacheManager:
    return manager()


def make_manager(
    region: str = "functions", /, *, servers: Any = None, **options: Any
) -> CacheManager:
    """Return a manager of one region; ``servers``: of a second one, "servers", on memcached with
    these options. A machine that is busy with other things is no fault of a server: unless another
    time-out is given, it is long."""
    if options.get("type") == "ext:memcached":
        options.setdefault("timeout", 5)
    config = {f"cache.{region}.{name}": value for name, value in options.items()}
    names = [region]
    if servers is not None:
        names.append("servers")
        own = {"type": "ext:memcached", "secret": "of the tests", "timeout": 5, **servers}
        config |= {f"cache.servers.{name}": value for name, value in own.items()}
    return CacheManager(**parse_cache_config_options({"cache.regions": names, **config}))


REDIS_TYPES = ("ext:redis", "ext:rediscluster")
ON_REDIS = [pytest.param(type_, marks=pytest.mark.slow) for type_ in REDIS_TYPES]


def redis_options(request: pytest.FixtureRequest, type_: str = "") -> dict[str, Any]:
    """Return the options of a region of the parameter's type, on real servers that are empty."""
    type_ = type_ or request.param
    fixture = "redis" if type_ == "ext:redis" else "redis_cluster"
    url = request.getfixturevalue(fixture).url
    return {"type": type_, "url": url, "timeout": 10, "secret": "of the tests"}


class Calls:
    """Counts calls, from any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def __call__(self) -> int:
        with self._lock:
            self.count += 1
            return self.count


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def proxy(memcached: Memcached) -> Iterator[Proxy]:
    """A proxy before a memcached that is up and empty."""
    made = Proxy(memcached.port)
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[Memcached]:
    """A memcached of this test alone, to kill and pause."""
    made = Memcached()
    made.start()
    yield made
    made.kill()


@pytest.fixture
def connected() -> Manager:
    """Make managers of a region on the servers of ``url``."""

    def make(url: str, **options: Any) -> CacheManager:
        return make_manager(type="ext:memcached", url=url, **{"secret": "of the tests", **options})

    return make


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Let seconds pass for all that expires by this process's clock. An expiry that is really short
    may be over on a busy machine before a value is read once. Nothing is removed in that time."""
    real, passed = time.time, 0.0
    monkeypatch.setattr(maintenance, "when_due", lambda *_: None)

    def later(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        monkeypatch.setattr(time, "time", lambda: real() + passed)

    return later


@pytest.fixture
def one_line_a_kind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Callable[[CacheManager], None]:
    """Check that something failed and was counted, and that each kind was logged once."""
    caplog.set_level(logging.WARNING, "beaker_regions")
    monkeypatch.setattr(recorder, "LOG_INTERVAL", math.inf)

    def check(cache: CacheManager) -> None:
        counted = failures(cache)
        assert counted
        lines = [record.getMessage() for record in caplog.records]
        for event in counted:
            assert len([line for line in lines if line.endswith(f" ({event})")]) == 1, lines
        assert len(lines) == len(counted)

    return check


def failures(cache: CacheManager) -> dict[str, int]:
    """Return what failed, and how often."""
    counts = cache["functions"].stats.snapshot()
    return {event: count for event, count in counts.items() if event.startswith("failed.")}
