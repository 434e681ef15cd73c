"""Deleting tasks, and what makes it harmless: for a time it can be undone.

Tasks that are deleted stay where they are, with all that belongs to them, and nothing shows them.
After that time they are removed by the list's next deletions, or by ``manage.py purge_tasks``.
"""

from datetime import timedelta

from django.utils import timezone

from tasks.lists.capacity import check_room
from tasks.lists.changes import change_of
from tasks.models import Deletion, Task

UNDO_FOR = timedelta(hours=1)
"""How long a deletion can be undone."""
KEPT = 100
"""Deletions of a list that are kept without any task: they were undone."""
AT_ONCE = 200
"""Tasks that are removed for good in one go, so that whoever deletes another one hardly waits."""


def delete(list_id: int | None, task_id: int) -> tuple[Task, Deletion]:
    """Delete a task; return it, and what undoes it. Raises Task.DoesNotExist."""
    with change_of(list_id):
        task = Task.objects.get(list_id=list_id, pk=task_id)
        task.deletion = _deletion(task.list_id)
        task.save(update_fields=["deletion"])
        return task, task.deletion


def clear_done(list_id: int | None) -> tuple[int, Deletion | None]:
    """Delete the tasks that are done; return their number and, if there are any, what undoes it."""
    with change_of(list_id):
        done = Task.objects.filter(list_id=list_id, done=True)
        if list_id is None or not done.exists():
            return 0, None
        deletion = _deletion(list_id)
        return done.update(deletion=deletion), deletion


def undo(list_id: int | None, deletion_id: int) -> int:
    """Bring back what was deleted from a list, to where it was; return the number of tasks: 0 when
    it is back already. Raises Deletion.DoesNotExist, also for one that is too old, and Full."""
    with change_of(list_id):
        deletion = Deletion.objects.get(
            list_id=list_id, pk=deletion_id, made_at__gt=timezone.now() - UNDO_FOR
        )
        tasks = Task.with_deleted.filter(deletion=deletion)
        if number := tasks.count():
            check_room(deletion.list, number, new=False)
        return tasks.update(deletion=None)


def purge() -> int:
    """Remove for good what can no longer be undone, of all lists; return the number of tasks."""
    old = Deletion.objects.filter(made_at__lte=timezone.now() - UNDO_FOR)
    return sum(map(_purge, old.order_by("list").values_list("list", flat=True).distinct()))


def _purge(list_id: int) -> int:
    total = 0
    while True:
        with change_of(list_id):
            removed = _remove_old(list_id)
        total += removed
        if removed < AT_ONCE:
            return total


def _remove_old(list_id: int) -> int:
    """Remove what is too old; return the number of tasks, `AT_ONCE` if there may be more."""
    old = Deletion.objects.filter(list_id=list_id, made_at__lte=timezone.now() - UNDO_FOR)
    tasks = Task.with_deleted.filter(deletion__in=old).values_list("pk", flat=True)
    _, removed = Task.with_deleted.filter(pk__in=list(tasks[:AT_ONCE])).delete()
    old.filter(tasks=None).delete()
    undone = Deletion.objects.filter(list_id=list_id, tasks=None).order_by("-pk")
    beyond = list(undone.values_list("pk", flat=True)[KEPT : KEPT + AT_ONCE])
    Deletion.objects.filter(pk__in=beyond).delete()
    return removed.get(Task._meta.label, 0)


def _deletion(list_id: int) -> Deletion:
    _remove_old(list_id)
    return Deletion.objects.create(list_id=list_id)
