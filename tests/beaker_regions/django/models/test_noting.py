"""Functions with ``depends_on="queries"`` and the real ORM. The random walks test them, too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction
from django.db.models import Exists, OuterRef

from beaker_regions.engine.reads import EntriesRead, noting
from beaker_regions.testing import assert_loads
from tests.beaker_regions.django.models.models import Book, Owner, Shelf

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.beaker_regions.django.models.conftest import World

pytestmark = pytest.mark.django_db


def written_out(shelf: int) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH lent AS (SELECT id, shelf_id FROM watched_book) "
            "SELECT lent.id FROM lent, watched_shelf s WHERE s.id = lent.shelf_id AND s.id = %s",
            [shelf],
        )
        return list(cursor.fetchall())


def recursive(shelf: int) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH RECURSIVE tree (id, shelf_id) AS ("
            "SELECT id, shelf_id FROM watched_book UNION "
            "SELECT tree.id, tree.shelf_id FROM tree WHERE tree.id < 0) "
            "SELECT tree.id FROM tree, watched_shelf s WHERE s.id = tree.shelf_id AND s.id = %s",
            [shelf],
        )
        return list(cursor.fetchall())


QUERIES: dict[str, Callable[[int], Any]] = {
    "a join": lambda shelf: list(Book.objects.filter(shelf__pk=shelf, shelf__name="s1").values()),
    "a subquery": lambda shelf: list(
        Shelf.objects.filter(Exists(Book.objects.filter(shelf=OuterRef("pk"))), pk=shelf).values()
    ),
    "related rows": lambda shelf: [
        (each.pk, [book.pages for book in each.books.all()])
        for each in Shelf.objects.filter(pk=shelf).prefetch_related("books")
    ],
    "a number": lambda shelf: Book.objects.filter(shelf=shelf).count() + Shelf.objects.count(),
    "SQL": written_out,
    "recursive SQL": recursive,
}


@pytest.mark.parametrize("query", QUERIES)
def test_queries_of_every_kind_are_noted(world: World, query: str) -> None:
    @world.cache.region("functions", query, depends_on="queries")
    def rows(shelf: int) -> Any:
        return QUERIES[query](shelf)

    with assert_loads(1):
        assert rows(1) == rows(1) == QUERIES[query](1)
    Owner.objects.filter(pk=1).update(name="not read")
    with assert_loads(0):
        rows(1)
    for write in (
        lambda: Book.objects.filter(pk=1).delete(),
        lambda: Shelf.objects.filter(pk=1).update(name="other"),
    ):
        write()
        with assert_loads(1):
            assert rows(1) == rows(1) == QUERIES[query](1)


def test_a_transaction_sees_its_own_rows_and_stores_none(world: World) -> None:
    @world.cache.region("functions", depends_on="queries")
    def count() -> int:
        return Shelf.objects.count()

    before = count()
    with transaction.atomic():
        Shelf.objects.create(owner_id=1)
        assert count() == before + 1
        transaction.set_rollback(True)
    with assert_loads(0):
        assert count() == before


def test_a_table_without_seen_writes_is_named(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    @world.cache.region("functions", depends_on="queries")
    def owners() -> list[str]:
        return list(Owner.objects.values_list("name", flat=True))

    with assert_loads(2):
        owners(), owners()
    assert caplog.text.count("decorate watched.Owner with @row_tags()") == 1


def test_a_block_that_is_no_load_may_read_any_table(world: World) -> None:
    @world.cache.region("functions", depends_on="queries")
    def shelves() -> int:
        return Shelf.objects.count()

    shelves()  # now the queries of the process are noted
    reads = EntriesRead()
    with noting(reads):
        assert not list(Owner.objects.filter(name="nobody"))
    assert not reads.is_known


def test_a_query_set_is_not_stored(world: World, caplog: pytest.LogCaptureFixture) -> None:
    @world.cache.region("functions", depends_on="queries")
    def shelves() -> Any:
        return Shelf.objects.all()

    with assert_loads(2):
        assert len(shelves()) == len(shelves()) == 3
    assert "return rows, such as list(...) of a query set" in caplog.text


def test_coroutine_functions(world: World) -> None:
    @world.cache.region("functions", depends_on="queries")
    async def names(shelf: int) -> list[str]:
        await asyncio.sleep(0)
        return [each.name async for each in Shelf.objects.filter(pk=shelf)]

    async def change(name: str) -> list[str]:
        await sync_to_async(Shelf.objects.filter(pk=1).update)(name=name)
        return await names(1)

    for name in ("one", "two"):
        assert async_to_sync(change)(name) == [name]
    with assert_loads(0):
        assert async_to_sync(names)(1) == ["two"]


def test_a_statement_of_an_unknown_kind_is_not_stored(world: World) -> None:
    @world.cache.region("functions", depends_on="queries")
    def plan() -> str:
        return str(Shelf.objects.all().explain())

    with assert_loads(2):
        plan(), plan()
