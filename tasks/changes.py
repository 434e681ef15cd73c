"""Every change of a list's tasks, with the invalidation of what shows them.

Both happen in one transaction: after its commit nobody sees the list as it was, and after a
rollback nothing has happened. A task of another list does not exist: Task.DoesNotExist.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction

from beakercache import cache
from tasks import queries
from tasks.models import Task, TaskList


@contextmanager
def change_of(*list_ids: int | None) -> Iterator[None]:
    """Change tasks of lists within this block, while nobody else does. None is no list."""
    known = [list_id for list_id in list_ids if list_id is not None]
    with transaction.atomic():
        # In one order everywhere, and before any task: else two changes could block each other.
        list(TaskList.objects.select_for_update().filter(pk__in=known).order_by("pk"))
        yield
        cache.invalidate_tags(*(f"list:{list_id}" for list_id in known))


def add(tasks: TaskList, name: str) -> Task:
    with change_of(tasks.pk):
        return Task.objects.create(list=tasks, name=name)


def rename(list_id: int | None, task_id: int, name: str) -> Task:
    with change_of(list_id):
        task = Task.objects.get(list_id=list_id, pk=task_id)
        task.name = name
        task.save(update_fields=["name"])
        return task


def set_done(list_id: int | None, task_id: int, done: bool) -> Task:
    with change_of(list_id):
        task = Task.objects.get(list_id=list_id, pk=task_id)
        task.done = done
        task.save(update_fields=["done"])
        return task


def delete(list_id: int | None, task_id: int) -> Task:
    """Delete a task and return it as it was."""
    with change_of(list_id):
        task = Task.objects.get(list_id=list_id, pk=task_id)
        task.delete()
        return task


def clear_done(list_id: int | None) -> int:
    """Delete the tasks that are done and return their number."""
    with change_of(list_id):
        deleted, _ = Task.objects.filter(list_id=list_id, done=True).delete()
        return deleted


def before_list_deletion(instance: TaskList, **_: Any) -> None:
    """Invalidate what shows a list that is being deleted, be it with its user. A receiver of
    pre_delete, so that no way to delete leaves a page behind.
    """
    with change_of(instance.pk):
        if instance.user_id is not None:
            queries.list_of.invalidate(instance.user_id)
