"""Every change of a list's tasks, each in one transaction that locks the list.

The models invalidate the pages that show it (`tasks.models`): after the commit no page shows the
former list, and after a rollback nothing has changed. A task of another list does not exist:
Task.DoesNotExist.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import transaction

from tasks.lists import positions, queries
from tasks.lists.capacity import make_room
from tasks.lists.queries import Show
from tasks.models import ORDER, STEP, Task, TaskList


@contextmanager
def change_of(*list_ids: int | None) -> Iterator[None]:
    """Lock lists within this block, which is a transaction. None stands for no list."""
    with transaction.atomic():
        # Always in this order, and before any task: otherwise two changes could deadlock.
        known = [list_id for list_id in list_ids if list_id is not None]
        lists = TaskList.objects.select_for_update().filter(pk__in=known)
        list(lists.order_by("pk").values_list("pk"))
        yield


def add(tasks: TaskList, name: str, due: date | None = None) -> Task:
    """Add a task on top. Raises CapacityError."""
    with change_of(tasks.pk):
        make_room(tasks, 1)
        top = positions.top(tasks.pk)
        return Task.objects.create(list=tasks, name=name, due=due, position=top)


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task that is added with others."""

    name: str
    due: date | None = None
    done: bool = False


def add_many(tasks: TaskList, names: Sequence[str]) -> tuple[int, int]:
    """Add tasks of these names, as `add_all` does."""
    return add_all(tasks, [NewTask(name) for name in names])


def add_all(tasks: TaskList, new: Sequence[NewTask]) -> tuple[int, int]:
    """Add tasks, the first of them on top; all, or none: raises CapacityError. Return the lowest
    and the highest of their ids: the list has no others between them."""
    with change_of(tasks.pk):
        make_room(tasks, len(new))
        top = positions.top(tasks.pk) + STEP * len(new)
        Task.objects.bulk_create(
            (
                Task(
                    list=tasks,
                    name=task.name,
                    due=task.due,
                    done=task.done,
                    position=top - STEP * number,
                )
                for number, task in enumerate(new, 1)
            ),
            batch_size=500,
        )
        # Not every database says which ids it gave.
        added = Task.objects.filter(list=tasks).order_by("-pk").values_list("pk", flat=True)
        ids = list(added[: len(new)])
        return min(ids, default=0), max(ids, default=0)


class ChangedElsewhereError(Exception):
    """A task is not as its change expects it."""


def edit(
    list_id: int | None,
    task_id: int,
    name: str,
    due: date | None,
    was: tuple[str, date | None] | None = None,
) -> tuple[Task, Task]:
    """Change a task; return its former state and its present one. Raises ChangedElsewhereError
    unless its name and date still are what they ``was``, if that is given."""
    with change_of(list_id):
        task = Task.objects.get(list_id=list_id, pk=task_id)
        if was not in (None, (task.name, task.due)):
            raise ChangedElsewhereError
        former = copy(task)
        task.name = name
        task.due = due
        task.save(update_fields=["name", "due"])
        return former, task


def set_done(list_id: int | None, task_id: int, done: bool) -> Task:
    with change_of(list_id):
        task = Task.objects.get(list_id=list_id, pk=task_id)
        task.done = done
        task.save(update_fields=["done"])
        return task


@dataclass(frozen=True, slots=True)
class Beside:
    """A place in the order: right above or below another task."""

    other_id: int
    above: bool


def move(
    list_id: int | None, task_id: int, other_id: int, *, above: bool
) -> tuple[Task, Beside | None]:
    """Place a task right above another one of its list, or else right below. The other one may be
    deleted by now. Return the task and where it was: None if it is alone."""
    with change_of(list_id):
        task = Task.objects.get(list_id=list_id, pk=task_id)
        other = Task.with_deleted.get(list_id=list_id, pk=other_id)
        former = _place_of(task)
        if other != task:
            task.position = positions.between(task, other, above=above)
            task.save(update_fields=["position"])
        return task, former


def step(
    list_id: int | None, task_id: int, show: Show, search: str, *, up: bool
) -> tuple[Task, Beside | None]:
    """Move a task past the next one up, or else down, of those that are shown together: of all
    tasks, those that are done are shown below the open ones. Return what `move` returns."""
    with change_of(list_id):
        task = Task.objects.get(list_id=list_id, pk=task_id)
        former = _place_of(task)
        shown = queries.found(list_id, show, search).filter(done=task.done).order_by(*ORDER)
        near = positions.over(shown, task).reverse() if up else positions.under(shown, task)
        if other := near.first():
            task.position = positions.between(task, other, above=up)
            task.save(update_fields=["position"])
        return task, former


def _place_of(task: Task) -> Beside | None:
    tasks = Task.objects.filter(list_id=task.list_id)
    if upper := positions.over(tasks, task).reverse().first():
        return Beside(upper.pk, above=False)
    lower = positions.under(tasks, task).first()
    return Beside(lower.pk, above=True) if lower else None


def before_list_deletion(instance: TaskList, **_: Any) -> None:
    """Lock a list that is deleted, alone or with its user, before its tasks are. A receiver of
    pre_delete."""
    with change_of(instance.pk):
        pass
