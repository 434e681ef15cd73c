"""Entries in the types that Beaker itself brings, and what they promise here."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy

from beaker_regions import CacheManager
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import Calls, Manager, make_manager
from tests.servers import MariaDB
from tests.waiting import stored_value, until

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableSequence
    from multiprocessing.context import ForkContext, SpawnContext
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

LONG = 60.0
"""Seconds; longer than any test."""


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    server = MariaDB(tmp_path_factory.mktemp("mariadb") / "data")
    server.start()
    with sqlalchemy.create_engine(server.url.removesuffix("tasks")).connect() as connection:
        connection.execute(sqlalchemy.text("CREATE DATABASE tasks"))
    yield server
    server.stop()


@pytest.fixture(params=["memory", "dbm", "sqlite", "mariadb"])
def options(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Those of a region whose entries no other test sees."""
    options = {"type": request.param}
    if request.param == "sqlite":
        options = {"type": "ext:database", "url": f"sqlite:///{tmp_path}/cache.sqlite3"}
    elif request.param == "mariadb":
        url = request.getfixturevalue("mariadb").url
        options = {"type": "ext:database", "url": url, "table_name": tmp_path.name}
    return {**options, "data_dir": tmp_path, "secret": f"of {tmp_path}"}


@pytest.fixture
def manager(options: dict[str, Any]) -> Manager:
    """Make managers of that region."""
    return lambda **own: make_manager(**options, **own)


shared_by_processes = ["dbm", "sqlite", "mariadb"]
between_processes = pytest.mark.parametrize("options", shared_by_processes, indirect=True)


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


def test_simultaneous_calls_of_threads_load_once(cache: CacheManager, calls: Calls) -> None:
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
    assert not cache["functions"].stats["failed.backend"]


def change_and_read(
    options: dict[str, Any], own: int, current: MutableSequence[int], steps: Barrier
) -> None:
    """Change one of two numbers again and again, and read both, in step with another process."""
    cache = make_manager(**options)

    @cache.region("functions")
    def load(number: int) -> int:
        return current[number]

    try:
        for _ in range(40):
            steps.wait()
            current[own] += 1
            load.invalidate(own)
            steps.wait()
            assert (load(0), load(1)) == (current[0], current[1])
    except BaseException:
        steps.abort()
        raise
    assert not cache["functions"].stats["failed.backend"]


@pytest.mark.parametrize(
    "processes",
    [
        multiprocessing.get_context("fork"),
        pytest.param(multiprocessing.get_context("spawn"), marks=pytest.mark.slow),
    ],
)
@between_processes
def test_processes_that_invalidate_at_once_lose_none_of_it(
    options: dict[str, Any], processes: ForkContext | SpawnContext
) -> None:
    make_manager(**options).region("functions")(len)("has connected")
    numbers, steps = processes.Array("q", 2, lock=False), processes.Barrier(2, timeout=LONG)
    children = [
        processes.Process(target=change_and_read, args=(options, own, numbers, steps))
        for own in (0, 1)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    assert list(numbers) == [40, 40]


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
def test_a_database_that_is_away_is_not_the_callers_failure(
    mariadb: MariaDB, tmp_path: Path, calls: Calls, fault: str
) -> None:
    url = f"{mariadb.url}?connect_timeout=1&read_timeout=1"
    options = {"type": "ext:database", "url": url, "data_dir": tmp_path, "secret": "of the tests"}
    cache = make_manager(**options, table_name=f"of_{fault}")

    @cache.region("functions")
    def load() -> int:
        return calls()

    mended = multiprocessing.Event()

    def read_when_mended() -> None:
        assert mended.wait(LONG)
        calls.count = 100
        assert load() > 100, "the invalidation that another process could not deliver counts"
        assert stored_value(load) > 100

    before = stored_value(load)
    child = fork(read_when_mended)
    if fault == "killed":
        mariadb.kill()
    else:
        mariadb.pause()
    assert load() > before
    load.invalidate()
    assert cache["functions"].stats["failed.backend"] > 0
    begun_without = make_manager(**options, table_name=f"begun_when_{fault}")

    @begun_without.region("functions")
    def load_other() -> int:
        return calls()

    before = calls.count
    assert load_other() == before + 1
    if fault == "killed":
        mariadb.start()
    else:
        mariadb.resume()
    mended.set()
    assert statuses([child]) == [0]
    until(lambda: (load.peek() or 0) > 100, "the child's value is not read")
    stored_value(load_other)


@pytest.mark.parametrize("sql_mode", ["STRICT_TRANS_TABLES", ""])
def test_a_value_too_large_for_the_row_is_not_the_callers_failure(
    mariadb: MariaDB, tmp_path: Path, calls: Calls, sql_mode: str
) -> None:
    url = f"{mariadb.url}?init_command=SET sql_mode='{sql_mode}'"
    cache = make_manager(
        type="ext:database", url=url, table_name=tmp_path.name, secret="of the tests"
    )

    @cache.region("functions")
    def load(name: str, size: int) -> tuple[int, bytes]:
        return calls(), os.urandom(size)

    small = load("small", 10)
    assert len(load("large", 70_000)[1]) == 70_000
    assert (load("small", 10) == small) == bool(sql_mode), "what was there is, or was cut short"
    small = load("small", 10)
    assert load("small", 10) == small
    cache.invalidate_tags(*[f"tag {number}" for number in range(2000)])
    assert load("small", 10) != small, "a full row begins again empty"
    small = load("small", 10)
    assert load("small", 10) == small
