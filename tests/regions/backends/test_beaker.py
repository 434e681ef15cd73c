"""Entries in the types that Beaker itself brings, and what they promise here."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy

from regions import CacheManager
from tests.regions.children import fork, statuses
from tests.regions.conftest import Calls, Manager, make_manager
from tests.servers import MariaDB, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = 60.0
"""Seconds; longer than any test."""


class Redis(Server):
    """A Redis that keeps nothing on disk: what comes back with a snapshot may be old."""

    def command(self) -> list[str]:
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""]

    def options(self, timeout: float = 5) -> dict[str, Any]:
        """Return those of a region on it; a client without a time-out, in seconds, waits for
        ever."""
        limits = f"socket_timeout={timeout}&socket_connect_timeout={timeout}"
        return {"type": "ext:redis", "url": f"redis://{self.address}?{limits}"}


@pytest.fixture
def redis() -> Iterator[Redis]:
    server = Redis()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    server = MariaDB(tmp_path_factory.mktemp("mariadb") / "data")
    server.start()
    with sqlalchemy.create_engine(server.url.removesuffix("tasks")).connect() as connection:
        connection.execute(sqlalchemy.text("CREATE DATABASE tasks"))
    yield server
    server.stop()


@pytest.fixture(params=["memory", "dbm", "redis", "sqlite", "mariadb"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Manager:
    """Make managers of one region, whose entries no other test sees."""
    options = {"type": request.param}
    if request.param == "redis":
        options = request.getfixturevalue("redis").options()
    elif request.param == "sqlite":
        options = {"type": "ext:database", "url": f"sqlite:///{tmp_path}/cache.sqlite3"}
    elif request.param == "mariadb":
        options = {"type": "ext:database", "url": request.getfixturevalue("mariadb").url}
    shared = {"data_dir": tmp_path, "secret": f"of {tmp_path}"}
    return lambda **own: make_manager(**options, **shared, **own)


between_processes = pytest.mark.parametrize("manager", ["dbm", "redis"], indirect=True)
"""Those that more processes than one may share."""


@pytest.fixture
def cache(manager: Manager) -> CacheManager:
    return manager()


def test_hits_and_every_kind_of_invalidation(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions", tags=["number:{number}"])
    def load(number: int) -> int:
        return calls()

    assert (load(1), load(2), load(1), load(2)) == (1, 2, 1, 2)
    load.invalidate(1)
    assert (load(1), load(2)) == (3, 2)
    cache.invalidate_tags("number:2")
    assert (load(1), load(2)) == (3, 4)
    load.invalidate_all()
    assert (load(1), load(2)) == (5, 6)
    cache.invalidate_region("functions")
    assert (load(1), load(2), load.peek(2)) == (7, 8, 8)
    assert load.refresh(1) == load(1) == 9


def test_threads_that_call_at_once_load_once(cache: CacheManager, calls: Calls) -> None:
    start = threading.Barrier(8)

    @cache.region("functions")
    def load() -> int:
        return calls()

    def call(_: int) -> int:
        start.wait()
        return load()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(call, range(8))) == [1] * 8


def test_threads_never_read_a_value_from_before_an_invalidation(cache: CacheManager) -> None:
    current, oldest, over = 0, 0, threading.Event()

    @cache.region("functions")
    def load() -> int:
        return current

    def read() -> int:
        reads = 0
        while not over.is_set():
            allowed = oldest
            assert load() >= allowed
            reads += 1
        return reads

    with ThreadPoolExecutor(4) as threads:
        readers = [threads.submit(read) for _ in range(4)]
        try:
            for _ in range(50):
                current += 1
                load.invalidate()
                oldest = current
                assert load() == current
        finally:
            over.set()
        assert all(reader.result() for reader in readers)


@between_processes
def test_another_process_sees_an_invalidation_and_what_was_loaded_since(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions", tags=["number:{number}"])
    def load(number: int) -> int:
        return calls()

    def invalidate() -> None:
        assert (load(1), load(2)) == (1, 2)
        load.invalidate(1)
        cache.invalidate_tags("number:2")
        assert (load(1), load(2)) == (3, 4)

    assert (load(1), load(2)) == (1, 2)
    assert statuses([fork(invalidate)]) == [0]
    assert (load(1), load(2)) == (3, 4)
    assert calls.count == 2, "loaded here"


@pytest.mark.parametrize("manager", ["memory", "dbm", "redis"], indirect=True)
def test_a_child_forked_during_a_load_does_not_wait_for_ever(
    manager: Manager, calls: Calls
) -> None:
    cache = manager(lease=0.1)
    loading, proceed = threading.Event(), threading.Event()

    @cache.region("functions")
    def load() -> int:
        if calls() == 1:
            loading.set()
            assert proceed.wait(LONG)
        return calls.count

    def call() -> None:
        assert load() == 2
        load.invalidate()
        before = cache["functions"].stats["waits"]
        assert load() == 3
        assert cache["functions"].stats["waits"] == before, "a lease that ran out is nobody's"

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(load)
        assert loading.wait(LONG)
        ended = statuses([fork(call)])
        proceed.set()
        assert ended == [0]
        assert first.result() == 1


def test_a_backend_that_fails_is_not_the_callers_failure(tmp_path: Path, calls: Calls) -> None:
    data = tmp_path / "data"
    cache = make_manager(type="dbm", data_dir=data, secret="of the tests")

    @cache.region("functions")
    def load() -> int:
        return calls()

    assert (load(), load()) == (1, 1)
    os.rename(data, tmp_path / "away")
    data.write_text("in the way")
    assert (load(), load()) == (2, 3)
    load.invalidate()
    assert load.refresh() == 4
    assert cache["functions"].stats["failed.backend"] > 0
    data.unlink()
    os.rename(tmp_path / "away", data)
    assert (load(), load()) == (5, 5), "what could not be invalidated is, before anything is read"


@pytest.mark.parametrize("fault", ["killed", "hanging"])
def test_a_redis_that_is_away_is_not_the_callers_failure(
    redis: Redis, calls: Calls, fault: str
) -> None:
    cache = make_manager(**redis.options(timeout=0.5), secret="of the tests")

    @cache.region("functions")
    def load() -> int:
        return calls()

    assert (load(), load()) == (1, 1)
    if fault == "killed":
        redis.kill()
    else:
        redis.pause()
    assert load() == 2
    load.invalidate()
    assert cache["functions"].stats["failed.backend"] > 0
    if fault == "killed":
        redis.start()
    else:
        redis.resume()
    assert (load(), load()) == (3, 3), "the value from before the fault is not read again"


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # Beaker's, of redis-py's
def test_what_has_expired_does_not_stay_in_redis(redis: Redis, calls: Calls) -> None:
    cache = make_manager(**redis.options(), secret="of the tests", expire=0.5)

    @cache.region("functions")
    def load(key: int) -> int:
        return calls()

    def keys() -> int:
        with socket.create_connection(("127.0.0.1", redis.port)) as connection:
            connection.sendall(b"DBSIZE\r\n")
            return int(connection.recv(100).removeprefix(b":"))

    for key in range(20):
        load(key)
    stored = keys()
    ends = time.monotonic() + 10
    while keys() > stored - 20:
        assert time.monotonic() < ends, "the entries are still there"
        time.sleep(0.1)


def test_a_database_that_is_away_is_not_the_callers_failure(
    mariadb: MariaDB, tmp_path: Path, calls: Calls
) -> None:
    cache = make_manager(type="ext:database", url=mariadb.url, secret=f"of {tmp_path}")

    @cache.region("functions")
    def load(number: int) -> int:
        return calls()

    assert (load(1), load(1)) == (1, 1)
    mariadb.kill()
    load.invalidate(1)
    assert (load(1), load(2)) == (2, 3)
    assert cache["functions"].stats["failed.backend"] > 0
    mariadb.start()
    load.invalidate(2)
    assert (load(2), load(2)) == (4, 4)
