"""The queries of a write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction
from django.db.migrations.state import ProjectState
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from beaker_regions.django import manager as django_manager
from beaker_regions.django.models import writes
from tests.beaker_regions.django.models.models import (
    LIMIT,
    Album,
    Book,
    Loan,
    Owner,
    Page,
    Phrase,
    Shelf,
    Word,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.beaker_regions.django.models.conftest import World

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _without_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writes, "_has_outbox", lambda: False)


def statements(write: Callable[[], Any]) -> list[str]:
    """Return the statements of a write, without the outbox's."""
    with CaptureQueriesContext(connection) as captured:
        write()
    return [
        each["sql"].split()[0]
        for each in captured.captured_queries
        if "regions_outbox" not in each["sql"]
    ]


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_save_asks_nothing(world: World, in_transaction: bool) -> None:
    shelf = Shelf.objects.get(pk=1)
    shelf.name = "new"
    new = Shelf(owner_id=2)
    if in_transaction:
        with transaction.atomic():
            made = [statements(shelf.save), statements(new.save)]
    else:
        made = [statements(shelf.save), statements(new.save)]
    assert made == [["UPDATE"], ["INSERT"]]
    assert world.stale() == []


def test_a_save_of_an_instance_that_was_changed_asks(world: World) -> None:
    shelf = Shelf.objects.get(pk=1)
    shelf.owner_id = 3
    assert statements(shelf.save)[0] == "UPDATE"
    assert "SELECT" in statements(lambda: Shelf.objects.filter(pk=1).update(name="x"))
    assert world.stale() == []
    assert {"owner:1", "owner:3"} <= world.changed()


@pytest.mark.parametrize("fields", [["name"], None])
def test_a_save_of_a_row_that_moved_since(world: World, fields: list[str] | None) -> None:
    shelf = Shelf.objects.get(pk=1)
    shelf.name = "new"
    Shelf.objects.filter(pk=1).update(owner=3)
    world.read()
    shelf.save(update_fields=fields)
    assert world.stale() == []
    assert ("owner:1" in world.changed()) == (fields is None)


def test_only_the_tags_of_the_changed_rows_are_invalidated(world: World) -> None:
    Shelf.objects.filter(pk=1).update(name="new")
    assert world.changed() == {"shelf:1", "owner:1", "watched.Shelf", "owner books:1", "lent by:1"}
    world.read()
    Book.objects.filter(pk=2).update(shelf=3)
    kinds = "shelf books", "owner books", "lent by"
    tags = {f"{kind}:{number}" for kind in kinds for number in (1, 3)}
    assert world.changed() == {"watched.Book", *tags}


def test_a_write_without_a_change_invalidates_nothing(world: World) -> None:
    Book.objects.filter(pk=99).update(shelf=3)
    Book.objects.filter(pk=99).delete()
    Book.objects.none().update(shelf=3)
    Book.objects.bulk_create([])
    Owner.objects.filter(pk=1).update(name="new")
    assert world.changed() == set()


def test_a_write_that_fails_invalidates_nothing(world: World) -> None:
    for write in (
        lambda: Book.objects.create(shelf_id=1, code=101),
        lambda: Book.objects.filter(pk=3).update(code=101),
    ):
        with pytest.raises(IntegrityError):
            write()
    assert world.changed() == set()


def test_a_bulk_change_of_many_rows_is_the_family(world: World) -> None:
    Book.objects.bulk_create(Book(shelf_id=2) for _ in range(LIMIT + 1))
    assert world.changed() == {
        "watched.Book",
        "shelf books:2",
        "owner books:2",
        "lent by:2",
    }
    world.read()
    Book.objects.update(pages=1)
    assert "shelf books:3" in world.changed(), "it has no book"
    assert "shelf:3" not in world.changed()


def test_models_of_migrations_invalidate_whole_models(world: World) -> None:
    state: Any = ProjectState.from_apps(apps)
    historical: Any = state.apps.get_model("watched", "Book")
    assert historical.__module__ == "__fake__"
    historical.objects.filter(pk=99).update(pages=8)
    assert world.changed() == set()
    changes: list[Callable[[], Any]] = [
        lambda: historical.objects.filter(pk=1).update(shelf=3),
        lambda: historical.objects.filter(pk=1).delete(),
        lambda: historical.objects.create(shelf_id=2),
    ]
    for write in changes:
        write()
        assert world.stale() == []
        assert {"shelf books:1", "shelf books:3", "watched.Book"} <= world.changed()
        world.read()


def test_rows_that_the_database_deletes_itself(world: World) -> None:
    """On Django 6.1; before, Django deletes them."""

    @world.cache.region("functions", tags=["pages of:{album}"])
    def pages(album: int) -> int:
        return Page.objects.filter(album=album).count()

    album = Album.objects.create()
    assert pages(album.pk) == 0
    Page.objects.create(album=album)
    assert pages(album.pk) == 1
    album.delete()
    assert pages(album.pk) == 0


def test_without_a_manager_writes_go_unseen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django_manager, "_manager", None)
    Book.objects.filter(pk=1).update(shelf=3)
    assert world.changed() == set()


def test_rows_are_not_asked_for_in_the_order_of_their_model(world: World) -> None:
    """It joins other tables, whose rows would be locked."""
    with CaptureQueriesContext(connection) as captured:
        Loan.objects.filter(pk=1).update(reader=2)
    asked = [each["sql"] for each in captured if "watched_loan" in each["sql"]]
    assert len(asked) > 2
    assert not any("ORDER BY" in sql or "JOIN" in sql for sql in asked)


def test_a_key_leads_to_the_row_that_the_database_finds(world: World) -> None:
    if connection.vendor != "mysql":
        pytest.skip("keys have a case there")

    @world.cache.region("functions", tags=["phrases in:{language}"])
    def lengths(language: int) -> list[int]:
        return list(Phrase.objects.filter(word__language=language).values_list("length", flat=True))

    try:
        Word.objects.create(name="bee", language=1)
        phrase = Phrase.objects.create(word_id="Bee")
        assert lengths(1) == [0]
        Phrase.objects.filter(pk=phrase.pk).update(length=5)
        assert lengths(1) == [5]
        phrase.length = 6
        phrase.save()
        assert lengths(1) == [6]
    finally:
        Word.objects.filter(name="bee").delete()


def test_with_autocommit_off_no_statement_runs(world: World) -> None:
    transaction.set_autocommit(False)
    try:
        with pytest.raises(TransactionManagementError, match=r"use transaction\.atomic"):
            Shelf.objects.filter(pk=1).update(name="unseen")
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert not Shelf.objects.filter(name="unseen").exists()
    assert world.stale() == []
