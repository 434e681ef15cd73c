"""Every change of a list's tasks, with the invalidation of what shows them.

Both happen in one transaction: after its commit nobody sees the list as it was, and after a
rollback nothing has happened. A task of another list does not exist: Task.DoesNotExist.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from beakercache import cache
from tasks.models import Task, TaskList


@contextmanager
def change_of(list_id: int | None) -> Iterator[None]:
    """Change tasks of a list within this block."""
    with transaction.atomic():
        yield
        cache.invalidate_tags(f"list:{list_id}")


def add(tasks: TaskList, name: str) -> Task:
    with change_of(tasks.pk):
        return Task.objects.create(list=tasks, name=name)


def rename(list_id: int | None, task_id: int, name: str) -> Task:
    with change_of(list_id):
        task = _locked(list_id, task_id)
        task.name = name
        task.save(update_fields=["name"])
        return task


def set_done(list_id: int | None, task_id: int, done: bool) -> Task:
    with change_of(list_id):
        task = _locked(list_id, task_id)
        task.done = done
        task.save(update_fields=["done"])
        return task


def delete(list_id: int | None, task_id: int) -> Task:
    """Delete a task and return it as it was."""
    with change_of(list_id):
        task = _locked(list_id, task_id)
        task.delete()
        return task


def clear_done(list_id: int | None) -> int:
    """Delete the tasks that are done and return their number."""
    with change_of(list_id):
        deleted, _ = Task.objects.filter(list_id=list_id, done=True).delete()
        return deleted


def _locked(list_id: int | None, task_id: int) -> Task:
    return Task.objects.select_for_update().get(list_id=list_id, pk=task_id)
