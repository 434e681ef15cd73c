"""Every way to write. The rows at the beginning are those of `bench.writes.questions.fill`."""

from __future__ import annotations

import asyncio
import io
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.contrib.admin import ModelAdmin, site
from django.core import management, serializers
from django.db import connection, transaction
from django.db.models import F
from django.forms import modelform_factory
from django.test import RequestFactory

from bench.writes.models import Book, Loan, Owner, Shelf, Topic
from bench.writes.questions import CALLS, LENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.writes.contenders import Contender
    from bench.writes.questions import Reader

Way = tuple[str, "Callable[[], object]"]


def book() -> Any:
    return Book.objects.get(pk=1)


def books() -> Any:
    return Book.objects.filter(shelf=1)


def changed(instance: Any, **values: Any) -> Any:
    for name, value in values.items():
        setattr(instance, name, value)
    return instance


def simple() -> list[Way]:
    """Return the writes that need no more than the ORM."""
    owner: Any = Owner(pk=1)
    shelf: Any = Shelf(pk=3)
    topic: Any = Topic(pk=2)
    return [
        ("save", lambda: changed(book(), pages=5).save()),
        ("save, moves the row", lambda: changed(book(), shelf_id=3).save()),
        ("save, update_fields", lambda: changed(book(), shelf_id=3).save(update_fields=["shelf"])),
        ("save, F", lambda: changed(book(), pages=F("pages") + 1).save()),
        ("save of a deferred instance", lambda: changed(deferred(), pages=5).save()),
        ("save of a row on the path", lambda: changed(Shelf.objects.get(pk=1), owner_id=3).save()),
        ("save of an instance made with its key", lambda: Shelf(pk=1, owner_id=3).save()),
        ("create", lambda: Book.objects.create(shelf_id=3, code=4)),
        ("create through a relation", lambda: shelf.books.create(code=4)),
        ("get_or_create", lambda: Book.objects.get_or_create({"shelf_id": 3}, code=4)),
        ("update_or_create", lambda: Book.objects.update_or_create({"shelf_id": 3}, code=1)),
        ("delete", lambda: book().delete()),
        ("delete of a query set", lambda: books().delete()),
        ("delete, CASCADE", lambda: Shelf.objects.get(pk=1).delete()),
        ("delete, SET_NULL", lambda: Owner.objects.get(pk=3).delete()),
        ("_raw_delete", lambda: Loan.objects.filter(pk=1)._raw_delete("default")),
        ("bulk_create", lambda: Book.objects.bulk_create([Book(shelf_id=3, code=4)])),
        ("bulk_create, ignore_conflicts", lambda: bulk_create(ignore_conflicts=True)),
        (
            "bulk_create, update_conflicts",
            lambda: bulk_create(
                update_conflicts=True, update_fields=["shelf"], unique_fields=["code"]
            ),
        ),
        ("bulk_update", lambda: Book.objects.bulk_update([changed(book(), pages=5)], ["pages"])),
        (
            "bulk_update, moves the row",
            lambda: Book.objects.bulk_update([changed(book(), shelf_id=3)], ["shelf"]),
        ),
        ("update", lambda: books().update(pages=5)),
        ("update, F", lambda: books().update(pages=F("pages") + 1)),
        ("update, moves rows", lambda: books().update(shelf=3)),
        ("update over a join", lambda: Book.objects.filter(topics=1).update(shelf=3)),
        ("update of a row on the path", lambda: Shelf.objects.filter(pk=1).update(owner=3)),
        ("set of a reverse foreign key", lambda: shelf.books.set(books())),
        ("many-to-many add", lambda: book().topics.add(3)),
        ("many-to-many add, other side", lambda: topic.books.add(2)),
        ("many-to-many remove", lambda: book().topics.remove(2)),
        ("many-to-many remove, other side", lambda: topic.books.remove(1)),
        ("many-to-many set", lambda: book().topics.set([2, 3])),
        ("many-to-many set, other side", lambda: topic.books.set([2, 3])),
        ("many-to-many clear", lambda: book().topics.clear()),
        ("many-to-many clear, other side", lambda: topic.books.clear()),
        ("automatic through model, create", lambda: LENT.objects.create(book_id=2, topic_id=3)),
        ("automatic through model, delete", lambda: LENT.objects.filter(book=1).delete()),
        ("through model, create", lambda: Loan.objects.create(book_id=3, reader_id=1)),
        ("through model, add", lambda: owner.borrowed.add(3)),
        ("through model, clear", lambda: owner.borrowed.clear()),
        ("model form", form),
        ("admin, save and delete", admin),
        ("loaddata", loaddata),
        ("acreate", lambda: asyncio.run(Book.objects.acreate(shelf_id=3, code=4))),
        ("asave", lambda: asyncio.run(changed(book(), shelf_id=3).asave())),
        ("aupdate", lambda: asyncio.run(books().aupdate(pages=5))),
        ("adelete", lambda: asyncio.run(book().adelete())),
        ("many-to-many aadd", lambda: asyncio.run(book().topics.aadd(3))),
        ("raw SQL", raw),
        ("in a transaction with a savepoint", in_a_transaction),
    ]


def deferred() -> Any:
    return Book.objects.only("pages").get(pk=1)


def bulk_create(**options: Any) -> None:
    Book.objects.bulk_create([Book(shelf_id=3, code=1), Book(shelf_id=3, code=4)], **options)


def form() -> None:
    made = modelform_factory(Book, fields=["shelf", "code", "topics"])
    made({"shelf": 3, "code": 1, "topics": [3]}, instance=book()).save()


def admin() -> None:
    request = RequestFactory().get("/")
    page = ModelAdmin(Book, site)
    page.save_model(request, changed(book(), shelf_id=3), None, True)
    page.delete_queryset(request, Book.objects.filter(pk=2))


def loaddata() -> None:
    moved = serializers.serialize("json", [changed(book(), shelf_id=3)])
    with tempfile.NamedTemporaryFile("w", suffix=".json") as fixture:
        fixture.write(moved)
        fixture.flush()
        management.call_command("loaddata", fixture.name, stdout=io.StringIO())


def raw() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE writes_book SET pages = 5 WHERE id = 1")


def in_a_transaction() -> None:
    with transaction.atomic():
        changed(book(), pages=5).save()
        with transaction.atomic():
            changed(Book.objects.get(pk=2), shelf_id=3).save()


@contextmanager
def rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def with_readers(
    contender: Contender, reader: Reader, elsewhere: Callable[[str], Any]
) -> list[Way]:
    """Return the writes that need the library, a reader, or another process."""

    def said() -> None:
        raw()
        contender.say(Book, [1])

    def moved_since_it_was_loaded() -> None:
        loaded = book()
        elsewhere("move")
        changed(loaded, pages=5).save(update_fields=["pages"])

    def rollback() -> None:
        with rolled_back():
            books().update(shelf=3)
            reader.read()

    def rollback_of_a_savepoint() -> None:
        with transaction.atomic():
            books().update(pages=5)
            with rolled_back():
                changed(book(), shelf_id=3).save()
                reader.read()

    @contextmanager
    def beside(part: str, command: str, *, after: bool) -> Iterator[None]:
        """In this block the first statement with this part has the other process run a command."""
        done: list[object] = []

        def execute(run: Any, sql: str, *others: Any) -> Any:
            is_first = part in sql and not done
            result = run(sql, *others) if after or not is_first else None
            if is_first:
                done.append(elsewhere(command))
                result = result if after else run(sql, *others)
            return result

        with connection.execute_wrapper(execute):
            yield
        assert done, f"no statement has {part!r}"

    def load_before_commit() -> None:
        with transaction.atomic():
            changed(book(), pages=5).save()
            elsewhere("clear")
            assert elsewhere("read") == CALLS

    def load_before_statement() -> None:
        elsewhere("clear")
        with beside("UPDATE", "read", after=False):
            changed(book(), pages=5).save()

    def load_across_commit() -> None:
        elsewhere("clear")
        with beside('FROM "writes_book"', "save", after=True):
            reader.read()

    return [
        ("update, by the library's own method", lambda: contender.update(books(), shelf=3)),
        ("raw SQL, said", said),
        ("save of a row that another process moved", moved_since_it_was_loaded),
        ("rolled back, read in the transaction", rollback),
        ("savepoint rolled back, read in it", rollback_of_a_savepoint),
        ("race: a load between the write and its commit", load_before_commit),
        ("race: a load just before the statement, no transaction", load_before_statement),
        ("race: a load that began before the write and ends after it", load_across_commit),
    ]


def commands(contender: Contender, reader: Reader) -> dict[str, Callable[[], object]]:
    """Return the commands of the other process."""
    return {
        "read": reader.read,
        "judge": reader.judge,
        "clear": contender.clear,
        "save": lambda: changed(book(), pages=5).save(),
        "move": lambda: changed(book(), shelf_id=3).save(),
    }
