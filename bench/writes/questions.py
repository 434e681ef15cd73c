"""The cached questions, their answers from the database, and the rows at the beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from bench.writes.models import Book, Loan, Owner, Shelf, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEYS = range(1, 4)
"""Primary keys of owners, shelves, topics and books at the beginning."""
LENT = Book.topics.through

Rows = list[tuple[Any, ...]]


class Question(NamedTuple):
    """A query that is asked for each of `KEYS`."""

    query: Callable[[int], Any]
    tags: tuple[str, ...]
    """The tags of its answer, for the contender that names tags."""


QUESTIONS = {
    "shelves of an owner": Question(
        lambda key: Shelf.objects.filter(owner=key), ("owner shelves:{key}",)
    ),
    "books on a shelf": Question(
        lambda key: Book.objects.filter(shelf=key), ("shelf books:{key}",)
    ),
    "books of an owner": Question(
        lambda key: Book.objects.filter(shelf__owner=key), ("owner books:{key}",)
    ),
    "books on a topic": Question(
        lambda key: Book.objects.filter(topics=key), ("topic books:{key}", "writes.Book")
    ),
    "topics of a book": Question(
        lambda key: Topic.objects.filter(books=key), ("book topics:{key}", "writes.Topic")
    ),
    "loans of a reader": Question(
        lambda key: Loan.objects.filter(reader=key), ("reader loans:{key}",)
    ),
}

CALLS = len(QUESTIONS) * len(KEYS)


def query_of(name: str, key: int) -> Any:
    return QUESTIONS[name].query(key).order_by("pk").values_list()


def answer(name: str, key: int) -> Rows:
    """Return the rows from the database, past every cache."""
    with connection.cursor() as cursor:
        cursor.execute(*query_of(name, key).query.sql_with_params())
        return list(map(tuple, cursor.fetchall()))


def fill() -> None:
    """Make the rows with which each write begins."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            for model in (LENT, Loan, Book, Shelf, Topic, Owner):
                cursor.execute(f"DELETE FROM {model._meta.db_table}")
        Owner.objects.bulk_create(Owner(pk=key, name=f"owner {key}") for key in KEYS)
        Shelf.objects.bulk_create(Shelf(pk=key, owner_id=key, name=f"shelf {key}") for key in KEYS)
        Topic.objects.bulk_create(Topic(pk=key, name=f"topic {key}") for key in KEYS)
        Book.objects.bulk_create(Book(pk=key, shelf_id=(key + 1) // 2, code=key) for key in KEYS)
        LENT.objects.bulk_create(
            LENT(book_id=book, topic_id=topic) for book, topic in ((1, 1), (1, 2), (3, 2))
        )
        Loan.objects.bulk_create(Loan(pk=key, book_id=key, reader_id=key) for key in (1, 2))


class Reader:
    """One process's cached questions. ``cached`` is a function of a key for each of them."""

    def __init__(self, cached: Mapping[str, Callable[[int], Rows]]) -> None:
        self._calls = {
            f"{name} {key}": (name, key, function)
            for name, function in cached.items()
            for key in KEYS
        }
        self._before: dict[str, Rows] = {}

    def read(self) -> int:
        """Ask every question, and return how many answers came from the database."""
        loads = 0
        for call, (_, key, cached) in self._calls.items():
            with CaptureQueriesContext(connection) as captured:
                self._before[call] = cached(key)
            loads += bool(captured.captured_queries)
        return loads

    def judge(self) -> tuple[set[str], int]:
        """Return the questions with a stale answer. The number is how many answers came from the
        database, though they are what they were before."""
        stale, needless = set(), 0
        for call, (name, key, cached) in self._calls.items():
            with CaptureQueriesContext(connection) as captured:
                got = cached(key)
            if got != answer(name, key):
                stale.add(name)
            needless += bool(captured.captured_queries) and got == self._before[call]
        return stale, needless
