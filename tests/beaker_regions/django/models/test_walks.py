"""Random writes, committed and rolled back, and writes of several processes: no value is stale."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.models import BigIntegerField, Case, F, When
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.django.models.conftest import LENT
from tests.beaker_regions.django.models.models import (
    Book,
    Gadget,
    Item,
    Loan,
    Owner,
    Part,
    Seat,
    Shelf,
    Topic,
)

if TYPE_CHECKING:
    from tests.beaker_regions.django.models.conftest import World

pytestmark = pytest.mark.django_db

Numbers = tuple[int, int]
"""The numbers of a write, such as ids, each from 1 to 3."""


def save(numbers: Numbers) -> None:
    pk, shelf = numbers
    for book in Book.objects.filter(pk=pk):
        book.shelf_id, book.pages = shelf, book.pages + 1
        book.save()


def save_an_old_instance(numbers: Numbers) -> None:
    pk, shelf = numbers
    for book in Book.objects.filter(pk=pk):
        Book.objects.filter(pk=pk).update(shelf=shelf)
        book.save(update_fields=["pages"] if shelf == 1 else None)


def create(numbers: Numbers) -> None:
    Book.objects.get_or_create({"shelf_id": numbers[0]}, code=100 + numbers[1])


def upsert(numbers: Numbers) -> None:
    Book.objects.update_or_create({"shelf_id": numbers[0]}, code=100 + numbers[1])


def bulk(numbers: Numbers) -> None:
    Book.objects.bulk_create(
        Book(shelf_id=numbers[0], spare_id=numbers[1]) for _ in range(numbers[0] * 5)
    )


def bulk_update(numbers: Numbers) -> None:
    books = list(Book.objects.filter(shelf=numbers[0]).order_by("pk"))
    for book in books:
        book.shelf_id, book.pages = numbers[1], 7
    Book.objects.bulk_update(books, ["shelf", "pages"])


def update(numbers: Numbers) -> None:
    Book.objects.filter(shelf=numbers[0]).update(spare=numbers[1], pages=F("pages") + 1)


def update_over_joins(numbers: Numbers) -> None:
    Book.objects.filter(topics=numbers[0]).update(shelf=numbers[1])


def update_all(numbers: Numbers) -> None:
    moved = When(shelf=numbers[0], then=numbers[1])
    Book.objects.update(shelf=Case(moved, default="shelf_id", output_field=BigIntegerField()))


def move_the_shelf(numbers: Numbers) -> None:
    Shelf.objects.filter(pk=numbers[0], owner__isnull=False).update(owner=numbers[1])


def delete(numbers: Numbers) -> None:
    Book.objects.filter(pk=numbers[0]).delete()


def delete_some(numbers: Numbers) -> None:
    Book.objects.filter(shelf=numbers[0], pages__lt=numbers[1]).delete()


def delete_the_shelf(numbers: Numbers) -> None:
    Shelf.objects.filter(pk=numbers[0]).delete()
    Shelf(pk=numbers[0], owner_id=numbers[1]).save()


def delete_the_owner(numbers: Numbers) -> None:
    Owner.objects.filter(pk=numbers[0]).delete()
    Owner.objects.create(pk=numbers[0])


def relate(numbers: Numbers) -> None:
    for book in Book.objects.filter(pk=numbers[0]):
        book.topics.set([numbers[1], 3])


def relate_from_the_other_side(numbers: Numbers) -> None:
    Topic.objects.get(pk=numbers[0]).books.set(Book.objects.filter(shelf=numbers[1]))


def drop_relations(numbers: Numbers) -> None:
    LENT.objects.filter(topic=numbers[0]).delete()
    Loan.objects.filter(reader=numbers[1]).delete()


def rename(numbers: Numbers) -> None:
    Item.objects.filter(stamp=numbers[0]).update(name="abc"[numbers[1] - 1])
    for gadget in Gadget.objects.filter(maker=numbers[0]):
        gadget.maker, gadget.stamp = numbers[1], numbers[0]
        gadget.save()


def resize(numbers: Numbers) -> None:
    Part.objects.filter(size=numbers[0]).update(size=numbers[1])
    Part.objects.create(size=numbers[0], kind="flat")


def seat(numbers: Numbers) -> None:
    Seat.objects.get_or_create(row=numbers[0], number=numbers[1])
    Seat.objects.filter(number=numbers[0]).update(taken=F("number"))


Write = Callable[[Numbers], None]
OF_BOOKS: list[Write] = [save, save_an_old_instance, create, upsert, bulk, bulk_update, update]
OF_BOOKS += [update_over_joins, update_all, move_the_shelf, delete, delete_some, relate]
OF_BOOKS += [relate_from_the_other_side, drop_relations]
WRITES = [*OF_BOOKS, delete_the_shelf, delete_the_owner, rename, resize, seat]

numbers = st.tuples(st.integers(1, 3), st.integers(1, 3))
write = st.tuples(st.sampled_from(WRITES), numbers)
block = st.recursive(
    write, lambda inner: st.tuples(st.booleans(), st.lists(inner, max_size=3)), max_leaves=4
)
Step = tuple[Any, Any]
"""A write with its numbers; or a block of steps, and whether it is committed."""


def carry_out(world: World, step: Step) -> None:
    if callable(step[0]):
        step[0](step[1])
        return
    with transaction.atomic():
        for inner in step[1]:
            carry_out(world, inner)
            call = random.choice(world.calls)
            assert world.rows(*call) == world.rows.uncached(*call), call
        transaction.set_rollback(not step[0])


@settings(
    max_examples=5,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # smaller steps of a failure are not worth their minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(block, min_size=3, max_size=6))
def test_random_writes(world: World, steps: list[Step]) -> None:
    if len(world.functions) == 1:
        world.add_function_by_queries()
    world.restart()
    for step in steps:
        carry_out(world, step)
        assert world.stale() == []
        world.read()


def test_writes_of_several_processes(world: World) -> None:
    """Readers store values at every moment. At the end, each equals a new read."""
    world.add_function_by_queries()
    connections.close_all()

    def write_often(seed: int) -> None:
        chosen = random.Random(seed)
        for _ in range(25):
            pair = chosen.randint(1, 3), chosen.randint(1, 3)
            try:
                with transaction.atomic():
                    chosen.choice(OF_BOOKS)(pair)
                    if chosen.random() < 0.2:
                        transaction.set_rollback(True)
            except DatabaseError:
                pass  # a deadlock, or a row that another process deleted, before or during a save
        connections.close_all()

    def read_often() -> None:
        for _ in range(15):
            world.read()
        connections.close_all()

    children = [fork(lambda seed=seed: write_often(seed)) for seed in range(3)]  # type: ignore[misc]
    children.append(fork(read_often))
    assert statuses(children) == [0, 0, 0, 0]
    assert world.stale() == []
