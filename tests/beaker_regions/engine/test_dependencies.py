"""Functions with ``depends_on="queries"``: stored with their tables, stale when one changes."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions import ConfigurationError
from beaker_regions.engine import reads
from beaker_regions.engine.reads import current_reads
from beaker_regions.testing import assert_hits, assert_loads

if TYPE_CHECKING:
    from collections.abc import Callable

    from beaker_regions import CacheManager


class Database:
    """Tables that record every read, like an integration does."""

    def __init__(self, cache: CacheManager) -> None:
        self._cache = cache
        self._rows: Counter[str] = Counter()

    def read(self, table: str) -> int:
        noted = current_reads()
        if noted is not None:
            noted.note_tags([table])
        return self._rows[table]

    def write(self, table: str) -> None:
        self._rows[table] += 1
        self._cache.invalidate_tags(table)


@pytest.fixture
def database(cache: CacheManager, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setattr(reads, "_note_queries", lambda: None)
    return Database(cache)


def dependent(cache: CacheManager) -> Callable[..., Any]:
    return cache.region("functions", depends_on="queries")


def test_a_write_to_a_table_that_was_read_makes_the_value_stale(
    cache: CacheManager, database: Database
) -> None:
    @dependent(cache)
    def both(first: str, second: str) -> tuple[int, int]:
        return database.read(first), database.read(second)

    assert both("a", "b") == (0, 0)
    with assert_hits(2):
        assert both("a", "b") == (0, 0)
        database.write("c")
        assert both("a", "b") == (0, 0)
    for number, table in enumerate(("a", "b"), 1):
        database.write(table)
        with assert_loads(1):
            assert sum(both("a", "b")) == number
            assert sum(both("a", "b")) == number


def test_calls_of_one_function_may_read_different_tables(
    cache: CacheManager, database: Database
) -> None:
    @dependent(cache)
    def rows(table: str) -> int:
        return database.read(table)

    tables = ["a", "b", "c"]
    assert rows.many(tables) == [0, 0, 0]
    database.write("b")
    with assert_loads(1):
        assert rows.many(tables) == [0, 1, 0]
    assert [rows.peek(table) for table in tables] == [0, 1, 0]
    database.write("c")
    assert [rows.peek(table) for table in tables] == [0, 1, None]


def test_a_value_that_another_process_stored_is_found(
    cache: CacheManager, database: Database
) -> None:
    def make() -> Any:
        def rows(table: str) -> int:
            return database.read(table)

        rows.__qualname__ = "rows"
        return dependent(cache)(rows)

    first, other = make(), make()
    assert first("a") == 0
    with assert_hits(2):
        # The other process knows no table at first; then it does.
        assert other("a") == 0
        assert other("a") == 0
    database.write("a")
    assert other("a") == 1


def test_a_write_while_the_value_is_loaded_is_not_missed(
    cache: CacheManager, database: Database
) -> None:
    disturb = True

    @dependent(cache)
    def rows() -> int:
        read = database.read("a")
        if disturb:
            database.write("a")
        return read

    assert rows() == 0
    disturb = False
    assert rows() == 1


def test_the_dependencies_of_a_called_function_count_too(
    cache: CacheManager, database: Database
) -> None:
    @dependent(cache)
    def inner() -> int:
        return database.read("a")

    @cache.region("functions", tags=["tagged"])
    def tagged() -> int:
        return database.read("b")

    @dependent(cache)
    def outer() -> tuple[int, int]:
        return inner(), tagged()

    inner(), tagged()  # so both are hits when the outer value is loaded
    assert outer() == (0, 0)
    with assert_hits(1):
        assert outer() == (0, 0)
    database.write("a")
    assert outer() == (1, 0)
    database.write("b")
    cache.invalidate_tags("tagged")
    assert outer() == (1, 1)
    inner.invalidate()
    with assert_loads(2):
        outer()


def test_coroutine_functions_have_dependencies(cache: CacheManager, database: Database) -> None:
    @dependent(cache)
    async def inner() -> int:
        await asyncio.sleep(0)
        return await asyncio.to_thread(database.read, "a")

    @dependent(cache)
    async def outer() -> int:
        (value,) = await asyncio.gather(inner())
        return int(value)

    async def both() -> tuple[int, int]:
        return await outer(), await outer.refresh()

    assert asyncio.run(both()) == (0, 0)
    database.write("a")
    assert asyncio.run(both()) == (1, 1)
    with assert_loads(0):
        assert asyncio.run(outer()) == 1


def test_callers_that_wait_for_a_load_get_its_value(
    cache: CacheManager, database: Database
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    @dependent(cache)
    def rows() -> int:
        read = database.read("a")
        begun.set()
        goes_on.wait(60)
        return read

    @dependent(cache)
    def around() -> int:
        return int(rows())

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(rows()))]
    threads[0].start()
    begun.wait(60)
    threads.append(threading.Thread(target=lambda: found.append(around())))
    threads[1].start()
    threading.Timer(0.2, goes_on.set).start()
    for thread in threads:
        thread.join()
    assert found == [0, 0]
    database.write("a")
    assert around() == 1


def test_a_value_with_unknown_dependencies_is_not_stored(
    cache: CacheManager, database: Database
) -> None:
    @dependent(cache)
    def rows() -> int:
        noted = current_reads()
        assert noted is not None
        noted.give_up()
        return database.read("a")

    with assert_loads(2):
        assert rows() == rows() == 0


class Lazy:
    """Reads rows when it is pickled, as a query set does."""

    def __init__(self, database: Database) -> None:
        self._read = database.read

    def __reduce__(self) -> Any:
        return int, (self._read("a"),)


def test_a_value_that_reads_rows_when_it_is_stored_is_not_stored(
    cache: CacheManager, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    @dependent(cache)
    def rows() -> Any:
        return Lazy(database)

    with assert_loads(2):
        assert isinstance(rows(), Lazy)
        assert isinstance(rows(), Lazy)
    assert "return rows, such as list(...) of a query set" in caplog.text


def test_a_task_that_outlives_the_load_reads_on(cache: CacheManager, database: Database) -> None:
    late: list[asyncio.Task[int]] = []

    async def read_later() -> int:
        await asyncio.sleep(0.2)
        return database.read("b")

    @dependent(cache)
    async def rows() -> int:
        late.append(asyncio.create_task(read_later()))
        return database.read("a")

    async def main() -> int:
        assert await rows() == 0
        return await late[0]

    assert asyncio.run(main()) == 0
    with assert_hits(1):
        assert asyncio.run(rows()) == 0


def test_content_is_refused(files_manager: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "_note_queries", lambda: None)
    cache = files_manager()

    @dependent(cache)
    def content() -> Any:
        return iter([b"x"])

    with pytest.raises(ConfigurationError, match="returns no file and no stream"):
        content()


def test_without_an_integration_nothing_is_called(
    cache: CacheManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "_note_queries", None)

    @dependent(cache)
    def rows() -> int:
        raise AssertionError

    with pytest.raises(ConfigurationError, match="INSTALLED_APPS, or name tags="):
        rows()


def test_store_if_is_asked_about_the_value(cache: CacheManager, database: Database) -> None:
    @cache.region("functions", depends_on="queries", store_if=lambda value: value > 0)
    def rows() -> int:
        return database.read("a")

    with assert_loads(2):
        rows(), rows()
    database.write("a")
    with assert_loads(1):
        rows(), rows()
