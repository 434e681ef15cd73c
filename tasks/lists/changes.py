"""Every change of a list's tasks, with the invalidation of the pages that show them.

Both happen in one transaction: after its commit no page shows the former list, and after a
rollback nothing has changed. A task of another list does not exist: Task.DoesNotExist.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from beakercache import cache
from tasks.lists import positions, queries
from tasks.lists.capacity import check_room
from tasks.lists.queries import Show
from tasks.models import ORDER, STEP, Task, TaskList
from tasks.tags import tag_of_list, tag_of_user


@contextmanager
def change_of(*list_ids: int | None) -> Iterator[None]:
    """Lock lists within this block, and invalidate their pages. None stands for no list."""
    known = [list_id for list_id in list_ids if list_id is not None]
    with transaction.atomic():
        # Always in this order, and before any task: otherwise two changes could deadlock.
        lists = TaskList.objects.select_for_update().filter(pk__in=known).order_by("pk")
        users = [user_id for user_id in lists.values_list("user_id", flat=True) if user_id]
        yield
        cache.invalidate_tags(*map(tag_of_list, known), *map(tag_of_user, users))


def add(tasks: TaskList, name: str, due: date | None = None) -> Task:
    """Add a task on top. Raises Full."""
    with change_of(tasks.pk):
        check_room(tasks, 1)
        top = positions.top(tasks.pk)
        return Task.objects.create(list=tasks, name=name, due=due, position=top)


def add_many(tasks: TaskList, names: Sequence[str]) -> None:
    """Add tasks of these names, the first of them on top; all, or none: raises Full."""
    with change_of(tasks.pk):
        check_room(tasks, len(names))
        top = positions.top(tasks.pk) + STEP * len(names)
        Task.objects.bulk_create(
            (
                Task(list=tasks, name=name, position=top - STEP * number)
                for number, name in enumerate(names, 1)
            ),
            batch_size=500,
        )


def edit(list_id: int | None, task_id: int, name: str, due: date | None) -> Task:
    with change_of(list_id):
        task = Task.objects.get(list_id=list_id, pk=task_id)
        task.name = name
        task.due = due
        task.save(update_fields=["name", "due"])
        return task


def set_done(list_id: int | None, task_id: int, done: bool) -> Task:
    with change_of(list_id):
        task = Task.objects.get(list_id=list_id, pk=task_id)
        task.done = done
        task.save(update_fields=["done"])
        return task


def move(list_id: int | None, task_id: int, other_id: int, *, above: bool) -> Task:
    """Place a task right above another one of its list, or else right below."""
    with change_of(list_id):
        task = Task.objects.get(list_id=list_id, pk=task_id)
        other = Task.objects.get(list_id=list_id, pk=other_id)
        if other != task:
            task.position = positions.between(task, other, above=above)
            task.save(update_fields=["position"])
        return task


def step(list_id: int | None, task_id: int, show: Show, search: str, *, up: bool) -> Task:
    """Move a task past the next one up, or else down, of those that are shown together."""
    with change_of(list_id):
        task = Task.objects.get(list_id=list_id, pk=task_id)
        shown = queries.found(list_id, show, search).order_by(*ORDER)
        near = positions.over(shown, task).reverse() if up else positions.under(shown, task)
        if other := near.first():
            task.position = positions.between(task, other, above=up)
            task.save(update_fields=["position"])
        return task


def after_user_change(instance: User, **_: Any) -> None:
    """Invalidate the pages of a user whose name, password or rights may be others. A receiver of
    post_save and post_delete; an update of many users at once has to do it itself."""
    cache.invalidate_tags(tag_of_user(instance.pk))


def before_list_deletion(instance: TaskList, **_: Any) -> None:
    """Invalidate the pages of a list that is deleted, alone or with its user. A receiver of
    pre_delete, so that every way to delete a list invalidates its pages.
    """
    with change_of(instance.pk):
        if instance.user_id is not None:
            queries.list_of.invalidate(instance.user_id)
