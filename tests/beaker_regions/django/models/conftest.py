"""Rows of every kind of model, and cached functions with tags that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection, connections, transaction
from django.db.models import Model

from beaker_regions.django import manager as django_manager
from tests.beaker_regions.conftest import make_manager
from tests.beaker_regions.django.models.models import (
    Book,
    Gadget,
    Item,
    Loan,
    Owner,
    Part,
    Reader,
    Seat,
    Shelf,
    Topic,
    Toy,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_django import DjangoDbBlocker

LENT = Book.topics.through
OWNERS = SHELVES = TOPICS = range(1, 4)

QUERIES: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "shelf:{}": (lambda pk: Shelf.objects.filter(pk=pk).values(), SHELVES),
    "owner:{}": (lambda pk: Shelf.objects.filter(owner=pk).values(), OWNERS),
    "watched.Shelf": (lambda _: Shelf.objects.values(), [0]),
    "shelf books:{}": (lambda pk: Book.objects.filter(shelf=pk).values(), SHELVES),
    "owner books:{}": (lambda pk: Book.objects.filter(shelf__owner=pk).values(), OWNERS),
    "spare books:{}": (lambda pk: Book.objects.filter(spare=pk).values(), SHELVES),
    "code:{!s:>4}": (lambda code: Book.objects.filter(code=code).values(), range(101, 106)),
    "watched.Book": (lambda _: Book.objects.values(), [0]),
    "book topics:{}": (lambda pk: LENT.objects.filter(book=pk).values(), range(1, 6)),
    "topic books:{}": (lambda pk: LENT.objects.filter(topic=pk).values(), TOPICS),
    "loans of:{}": (lambda pk: Loan.objects.filter(reader=pk).values(), OWNERS),
    "lent by:{}": (lambda pk: Loan.objects.filter(book__shelf__owner=pk).values(), OWNERS),
    "item:{}": (lambda name: Item.objects.filter(name=name).values(), "abcn"),
    "stamp:{}": (
        lambda stamp: [
            each
            for model in (Item, Gadget, Toy)
            for each in model.objects.filter(stamp=stamp).values()
        ],
        range(4),
    ),
    "gadget:{}": (lambda maker: Gadget.objects.filter(maker=maker).values(), range(1, 4)),
    "gadgets named:{}": (lambda name: Gadget.objects.filter(name=name).values(), "abcn"),
    "double:{}": (lambda double: Part.objects.filter(double=double).values(), range(0, 12, 2)),
    "kind:{}": (lambda kind: Part.objects.filter(kind=kind).values(), ["plain", "round", "flat"]),
    "price:{}": (lambda price: Part.objects.filter(price=price).values(), ["0.00", "1.50"]),
    "seats in:{}": (lambda row: Seat.objects.filter(row=row).values(), range(1, 4)),
}
"""Templates of tags. Each has the query for the rows with its tag, and values to try."""


def rows_now(template: str, value: Any) -> list[str]:
    """Return the rows that have a tag."""
    query, _ = QUERIES[template]
    return sorted(repr(sorted(row.items())) for row in query(value))


class World:
    """The rows, and the cached functions that read them."""

    def __init__(self, data_dir: Path) -> None:
        self.cache = make_manager(type="file", data_dir=data_dir, secret="of the tests")
        self.loads = 0

        @self.cache.region(
            "functions", tags=lambda template, value: [template.format(value)], expire=3600
        )
        def rows(template: str, value: Any) -> list[str]:
            self.loads += 1
            return rows_now(template, value)

        self.rows = rows
        self.functions = [rows]
        """The functions that are called, and compared with the rows."""
        self.calls = [
            (template, value) for template, (_, values) in QUERIES.items() for value in values
        ]

    def add_function_by_queries(self) -> None:
        """Read the rows also by a function that has no tags."""
        by_queries = self.cache.region("functions", depends_on="queries")(rows_now)
        self.functions.append(by_queries)

    def fill(self) -> None:
        """Make the rows at the start of each test."""
        Owner.objects.bulk_create(Owner(pk=pk, name=f"o{pk}") for pk in OWNERS)
        Shelf.objects.bulk_create(Shelf(pk=pk, owner_id=pk, name=f"s{pk}") for pk in SHELVES)
        Topic.objects.bulk_create(Topic(pk=pk, name=f"t{pk}") for pk in TOPICS)
        Book.objects.bulk_create(
            [
                Book(pk=1, shelf_id=1, spare_id=2, code=101),
                Book(pk=2, shelf_id=1, place_id=3),
                Book(pk=3, shelf_id=2, spare_id=3, code=103),
            ]
        )
        Book(pk=1).topics.set([1, 2])
        Book(pk=3).topics.set([2])
        for pk in OWNERS:
            Reader(owner_ptr_id=pk).save_base(raw=True)
        Loan.objects.bulk_create([Loan(pk=1, book_id=1, reader_id=1)])
        Loan.objects.bulk_create([Loan(pk=2, book_id=3, reader_id=2)])
        Item(pk=1, name="a", stamp=1).save(force_insert=True)
        Gadget(pk=2, name="b", stamp=2, maker=1).save()
        Toy(pk=3, name="c", stamp=3, age=4).save()
        Part(size=1, kind="round", price="1.50").save()
        Part(size=2).save()
        Seat(row=1, number=1).save()
        Seat(row=2, number=1).save()

    def restart(self) -> None:
        """Make the rows again, and let the functions read them."""
        with transaction.atomic():
            empty()
            self.fill()
        self.cache.invalidate_region("functions")
        self.read()

    def read(self) -> int:
        """Call every function and return how many loaded."""
        before = self.loads
        for call in self.calls:
            for function in self.functions:
                function(*call)
        return self.loads - before

    def stale(self) -> list[str]:
        """Return the tags of calls whose stored value differs from a new load."""
        found = []
        for template, value in self.calls:
            now = rows_now(template, value)
            for function in self.functions:
                stored = function.peek(template, value)
                if stored is not None and stored != now:
                    found.append(f"{template.format(value)} in {function}")
        return found

    def changed(self) -> set[str]:
        """Return the tags whose entries are no longer valid."""
        return {
            template.format(value)
            for template, value in self.calls
            if self.rows.peek(template, value) is None
        }


TABLES: list[type[Model]] = [
    LENT,
    Loan,
    Book,
    Shelf,
    Topic,
    Reader,
    Owner,
    Gadget,
    Toy,
    Item,
    Part,
    Seat,
]


def empty() -> None:
    """Delete the rows without invalidation."""
    with connection.cursor() as cursor:
        for model in TABLES:
            cursor.execute(f"DELETE FROM {model._meta.db_table}")


@pytest.fixture
def _django_db_helper(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Replaces pytest-django's fixture. The tests of this folder commit, and `world` deletes its
    rows. Flushing and restoring all tables takes longer than a test."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def world(
    _django_db_helper: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """The rows, committed, and functions that have read them. Tests need the mark ``django_db``."""
    made = World(tmp_path)
    monkeypatch.setattr(django_manager, "_manager", made.cache)
    try:
        with transaction.atomic():
            made.fill()
        made.read()
        yield made
    finally:
        with transaction.atomic(), connection.cursor() as cursor:
            for model in TABLES:
                cursor.execute(f"DELETE FROM {model._meta.db_table}")
            cursor.execute("DELETE FROM regions_outbox_owed")
        connections.close_all()
