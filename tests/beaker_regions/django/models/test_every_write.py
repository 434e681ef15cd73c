"""Every kind of write of Django's ORM. After it, no value is stale."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin import ModelAdmin, site
from django.contrib.auth.models import User
from django.core import management, serializers
from django.db import connection, transaction
from django.db.models import Case, Count, F, Value, When
from django.db.models.functions import Coalesce
from django.forms import modelform_factory
from django.test import RequestFactory

from beaker_regions import ConfigurationError
from beaker_regions.django import invalidate_model
from tests.beaker_regions.django.models.conftest import LENT
from tests.beaker_regions.django.models.models import (
    LIMIT,
    Book,
    Gadget,
    Item,
    Loan,
    Novel,
    Owner,
    Part,
    Reader,
    Seat,
    Shelf,
    Topic,
    Toy,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.beaker_regions.django.models.conftest import World

pytestmark = pytest.mark.django_db

WRITES: dict[str, Callable[[], None]] = {}


def way(write: Callable[[], None]) -> Callable[[], None]:
    WRITES[write.__name__] = write
    return write


def one(pk: int = 1) -> Book:
    return Book.objects.get(pk=pk)


# -- save ------------------------------------------------------------------------------------------


@way
def save() -> None:
    book = one()
    book.pages = 5
    book.save()


@way
def save_moves_the_row() -> None:
    book = one()
    book.shelf_id = 3
    book.spare_id = None
    book.save()


@way
def save_of_some_fields() -> None:
    book = one()
    book.pages, book.shelf_id = 5, 2
    book.save(update_fields=["pages"])


@way
def save_of_a_field_of_the_tags() -> None:
    book = one()
    book.shelf_id = 2
    book.save(update_fields=["shelf"])


@way
def save_with_an_expression() -> None:
    book = one()
    book.code = F("code") + 1
    book.pages = F("pages") + 1
    book.save()


@way
def save_of_a_deferred_instance() -> None:
    book = Book.objects.only("pages").get(pk=1)
    book.pages = 7
    book.save()


@way
def save_after_the_row_moved() -> None:
    book = one()
    Book.objects.filter(pk=1).update(shelf=3)
    book.save(update_fields=["pages"])


@way
def save_of_texts_and_numbers() -> None:
    book = one()
    book.shelf_id = "2"
    book.code = "104"
    book.save()


@way
def save_of_a_proxy() -> None:
    novel = Novel.objects.get(pk=1)
    novel.shelf_id = 2
    novel.save()


@way
def save_of_a_new_row_with_its_key() -> None:
    Book(pk=5, shelf_id=2, code=105).save()


@way
def save_under_another_key() -> None:
    book = one(2)
    book.pk = 5
    book.save()


@way
def save_that_inserts_by_force() -> None:
    Shelf(owner_id=2).save(force_insert=True)


@way
def refresh_and_save() -> None:
    book = one()
    Book.objects.filter(pk=1).update(shelf=3)
    book.refresh_from_db()
    book.pages = 9
    book.save()


@way
def save_base() -> None:
    Book(pk=1, shelf_id=3, pages=5).save_base(raw=True)


@way
def save_of_a_child() -> None:
    gadget = Gadget.objects.get(pk=2)
    gadget.maker, gadget.name, gadget.stamp = 2, "n", 1
    gadget.save()


@way
def save_of_a_parent() -> None:
    item = Item.objects.get(pk=2)
    item.name = "n"
    item.save()


@way
def save_of_a_child_that_inherits_its_tags() -> None:
    toy = Toy.objects.get(pk=3)
    toy.age = 9
    toy.save()


@way
def save_of_generated_values() -> None:
    part = Part.objects.get(size=1)
    part.size = 3
    part.save()


@way
def save_of_a_composite_key() -> None:
    seat = Seat.objects.get(pk=(1, 1))
    seat.taken = True
    seat.save()


# -- create ----------------------------------------------------------------------------------------


@way
def create() -> None:
    Book.objects.create(shelf_id=1, spare_id=1, code=102)


@way
def create_through_a_relation() -> None:
    Shelf.objects.get(pk=1).books.create(code=102)


@way
def create_with_the_databases_default() -> None:
    Part.objects.create(size=0)


@way
def create_with_an_expression() -> None:
    Part.objects.create(size=Value(1) + Value(1), kind="flat")


@way
def create_of_children() -> None:
    Gadget.objects.create(name="a", stamp=1, maker=3)
    Toy.objects.create(name="a", stamp=3)


@way
def create_of_composite_keys() -> None:
    Seat.objects.create(row=3, number=1)


@way
def get_or_create() -> None:
    assert Book.objects.get_or_create(code=104, defaults={"shelf_id": 3})[1]


@way
def update_or_create() -> None:
    assert not Book.objects.update_or_create({"shelf_id": 3}, code=101)[1]


@way
def create_in_a_coroutine() -> None:
    asyncio.run(Book.objects.acreate(shelf_id=1, code=102))


# -- bulk ------------------------------------------------------------------------------------------


@way
def bulk_create() -> None:
    Book.objects.bulk_create([Book(shelf_id=2), Book(shelf_id=3, code=104)])


@way
def bulk_create_of_too_many() -> None:
    Book.objects.bulk_create(Book(shelf_id=2, code=104 + number) for number in range(LIMIT * 2))


@way
def bulk_create_without_keys() -> None:
    Shelf.objects.bulk_create([Shelf(owner_id=2), Shelf(owner_id=3)])


@way
def bulk_create_of_unknown_values() -> None:
    Part.objects.bulk_create([Part(size=0), Part(size=4, kind="flat")])


@way
def bulk_create_that_ignores_conflicts() -> None:
    Book.objects.bulk_create(
        [Book(pk=1, shelf_id=3), Book(pk=4, shelf_id=3)], ignore_conflicts=True
    )


@way
def bulk_create_that_updates() -> None:
    Book.objects.bulk_create(
        [Book(code=101, shelf_id=3, pages=8), Book(code=105, shelf_id=2)],
        update_conflicts=True,
        update_fields=["shelf", "pages"],
        unique_fields=None if connection.vendor == "mysql" else ["code"],
    )


@way
def bulk_update() -> None:
    first, second = Book.objects.filter(pk__in=[1, 3]).order_by("pk")
    first.shelf_id, second.shelf_id, second.pages = 2, 3, 1
    Book.objects.bulk_update([first, second], ["shelf", "pages"])


# -- update ----------------------------------------------------------------------------------------


@way
def update() -> None:
    assert Book.objects.filter(shelf=1).update(pages=3) == 2


@way
def update_of_the_fields_of_tags() -> None:
    assert Book.objects.filter(shelf=1).update(shelf=3, spare=1) == 2


@way
def update_with_expressions() -> None:
    Book.objects.update(
        code=F("code") + 1,
        shelf=Case(When(pk=1, then=2), default=3),
        spare=Coalesce("place_id", "spare_id"),
    )


@way
def update_over_joins() -> None:
    assert Book.objects.filter(shelf__owner__name="o1", topics__name__gt="").update(shelf=3) == 1


@way
def update_over_aggregates() -> None:
    books = Book.objects.annotate(number=Count("topics")).filter(number__gt=1)
    assert books.update(shelf=3) == 1


@way
def update_of_distinct_rows() -> None:
    assert Book.objects.filter(topics__in=[1, 2]).distinct().update(shelf=3) == 2


@way
def update_of_too_many() -> None:
    Book.objects.bulk_create(Book(shelf_id=2) for number in range(LIMIT + 1))
    Book.objects.update(shelf=3)


@way
def update_of_the_key() -> None:
    Loan.objects.filter(pk=1).update(id=9)


@way
def update_of_a_parent() -> None:
    assert Item.objects.filter(stamp=2).update(name="n") == 1


@way
def update_of_a_child() -> None:
    assert Gadget.objects.filter(name="b").update(name="n", maker=3, stamp=0) == 1
    assert Gadget.objects.filter(name="n").update(maker=2) == 1
    assert Gadget.objects.filter(maker=2).update(name="a") == 1


@way
def update_of_a_row_on_the_way() -> None:
    Shelf.objects.filter(pk=1).update(owner=2)


@way
def update_of_generated_values() -> None:
    Part.objects.filter(kind="round").update(size=5)


@way
def update_of_composite_keys() -> None:
    assert Seat.objects.filter(row__lt=9).update(taken=True) == 2


@way
def update_in_a_coroutine() -> None:
    asyncio.run(Book.objects.filter(pk=1).aupdate(shelf=2))


@way
def update_of_a_relation() -> None:
    Shelf.objects.get(pk=3).books.set(Book.objects.all())


# -- delete ----------------------------------------------------------------------------------------


@way
def delete_of_one() -> None:
    Book.objects.get(pk=2).delete()


@way
def delete_of_a_query_set() -> None:
    Book.objects.filter(shelf=1).delete()


@way
def delete_at_once() -> None:
    assert Loan.objects.filter(reader=1).delete()[0] == 1


@way
def delete_of_nothing() -> None:
    assert Loan.objects.filter(reader=9).delete() == (0, {})
    assert Loan.objects.filter(reader=9)._raw_delete("default") == 0


@way
def delete_without_signals() -> None:
    assert Loan.objects.filter(reader__name="o1")._raw_delete("default") == 1


@way
def delete_with_cascades() -> None:
    Shelf.objects.filter(pk__in=[1, 3]).delete()


@way
def delete_that_sets_null() -> None:
    Owner.objects.get(pk=1).delete()


@way
def delete_of_children_and_parents() -> None:
    Gadget.objects.get(pk=2).delete()
    Item.objects.filter(pk=3).delete()


@way
def delete_that_keeps_parents() -> None:
    Gadget.objects.get(pk=2).delete(keep_parents=True)


@way
def delete_of_composite_keys() -> None:
    Seat.objects.get(pk=(1, 1)).delete()
    Seat.objects.filter(row=2).delete()


@way
def delete_of_too_many() -> None:
    Book.objects.bulk_create(Book(shelf_id=2) for number in range(LIMIT + 1))
    Book.objects.all().delete()


# -- many to many ----------------------------------------------------------------------------------


@way
def add_to_many() -> None:
    one(2).topics.add(1, Topic.objects.get(pk=3))


@way
def add_from_the_other_side() -> None:
    Topic.objects.get(pk=3).books.add(1, 2)


@way
def remove_from_many() -> None:
    one().topics.remove(2)


@way
def remove_from_the_other_side() -> None:
    Topic.objects.get(pk=2).books.remove(1, 3)


@way
def set_many() -> None:
    one().topics.set([2, 3])


@way
def clear_many() -> None:
    one().topics.clear()


@way
def clear_from_the_other_side() -> None:
    Topic.objects.get(pk=2).books.clear()


@way
def add_with_a_row_between() -> None:
    Reader.objects.get(pk=1).borrowed.add(2, through_defaults={})


@way
def remove_a_row_between() -> None:
    Reader.objects.get(pk=1).borrowed.clear()


@way
def create_of_a_row_between() -> None:
    LENT.objects.create(book_id=2, topic_id=2)


@way
def add_in_a_coroutine() -> None:
    asyncio.run(one(2).topics.aadd(1))


# -- others ----------------------------------------------------------------------------------------


@way
def form() -> None:
    made = modelform_factory(Book, fields=["shelf", "topics"])
    bound = made({"shelf": 2, "topics": [3]}, instance=one())
    bound.save()


@way
def admin() -> None:
    request = RequestFactory().get("/")
    request.user = User(pk=1)
    page = ModelAdmin(Book, site)
    page.save_model(request, Book(shelf_id=3, code=104), None, False)
    page.delete_queryset(request, Book.objects.filter(pk=1))
    page.delete_model(request, one(2))


@way
def deserialized() -> None:
    text = serializers.serialize("json", Book.objects.filter(pk=1))
    for each in serializers.deserialize("json", text.replace('"shelf": 1', '"shelf": 2')):
        each.save()


@way
def in_a_transaction() -> None:
    with transaction.atomic():
        save()
        with transaction.atomic():
            update_of_the_fields_of_tags()
        delete_of_one()


@pytest.mark.parametrize("name", WRITES)
def test_nothing_is_stale_after(world: World, name: str) -> None:
    # A coroutine's thread has its own transaction, and waits for the lock of this one.
    if "coroutine" not in name:
        with transaction.atomic():
            WRITES[name]()
            transaction.set_rollback(True)
        assert world.changed() == set(), "a rollback invalidates nothing"
    WRITES[name]()
    assert world.stale() == []


def test_loaddata(world: World, tmp_path: Path) -> None:
    fixture = tmp_path / "rows.json"
    fixture.write_text(
        serializers.serialize("json", [*Shelf.objects.all(), *Book.objects.all()])
        .replace('"shelf": 1', '"shelf": 2')
        .replace('"owner": 1', '"owner": 3')
    )
    management.call_command("loaddata", fixture, stdout=io.StringIO())
    assert world.stale() == []


# -- writes past the ORM ---------------------------------------------------------------------------


def raw(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize(
    "rows",
    [
        lambda: Book.objects.filter(pk__lt=3),
        lambda: Book.objects.filter(shelf__owner=1).distinct(),
        lambda: [1, 2],
        lambda: list(Book.objects.filter(shelf=1)),
        lambda: None,
    ],
)
def test_raw_sql_is_invalidated_explicitly(world: World, rows: Callable[[], Any]) -> None:
    with transaction.atomic():
        changed = rows()
        invalidate_model(Book, changed)
        raw("UPDATE watched_book SET pages = 8, shelf_id = 3, code = NULL WHERE id < 3")
        invalidate_model(Book, None if changed is None else [1, 2])
    assert world.stale() == []
    fresh = {tag for tag in world.changed() if tag.startswith("shelf books:")}
    assert ("shelf books:2" in fresh) == (changed is None)


def test_too_many_rows_are_the_whole_model(world: World) -> None:
    Book.objects.bulk_create(Book(shelf_id=2) for _ in range(LIMIT + 1))
    world.read()
    invalidate_model(Book, Book.objects.all())
    assert {f"shelf books:{number}" for number in (1, 2, 3)} <= world.changed()


def test_a_model_without_tags_is_an_error_that_names_the_mend() -> None:
    with pytest.raises(ConfigurationError, match=r"watched\.Owner.*row_tags"):
        invalidate_model(Owner)
