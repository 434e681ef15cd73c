"""Deleting tasks. A deletion can be undone for a time.

Deleted tasks stay in the table with everything that belongs to them, and no page shows them.
After that time, `settings.DELETED_TASKS_DAYS`, they are removed by the list's next deletions, or
by ``manage.py purge_tasks``. A list keeps a limited number of them (`tasks.lists.capacity`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Prefetch
from django.utils import timezone

from beakercache import cache
from tasks.lists.capacity import check_room
from tasks.lists.changes import change_of
from tasks.models import ORDER, Deletion, Task

SHOWN = 200
"""Deletions that are shown at once."""
NAMES = 3
"""Names of tasks that are shown of a deletion."""
KEPT = 100
"""Undone deletions, without any task, that are kept for a list."""
AT_ONCE = 200
"""Tasks that are removed for good in one step, so that the next deletion hardly waits."""


def delete(list_id: int | None, task_id: int) -> tuple[Task, Deletion]:
    """Delete a task; return it and the deletion, which can be undone. Raises Task.DoesNotExist."""
    with change_of(list_id):
        task = Task.objects.get(list_id=list_id, pk=task_id)
        task.deletion = _deletion(task.list_id)
        task.save(update_fields=["deletion"])
        return task, task.deletion


def clear_done(list_id: int | None) -> tuple[int, Deletion | None]:
    """Delete the tasks that are done; return their number and, if there are any, the deletion."""
    with change_of(list_id):
        done = Task.objects.filter(list_id=list_id, done=True)
        if list_id is None or not done.exists():
            return 0, None
        deletion = _deletion(list_id)
        return done.update(deletion=deletion), deletion


def delete_range(list_id: int | None, first: int, last: int) -> tuple[int, Deletion | None]:
    """Delete the tasks of a list with ids from ``first`` to ``last``; return their number and, if
    there are any, the deletion."""
    with change_of(list_id):
        tasks = Task.objects.filter(list_id=list_id, pk__range=(first, last))
        if list_id is None or not tasks.exists():
            return 0, None
        deletion = _deletion(list_id)
        return tasks.update(deletion=deletion), deletion


@dataclass(frozen=True, slots=True)
class Deleted:
    """Tasks that were deleted together."""

    id: int
    made_at: datetime
    number: int
    names: tuple[str, ...]
    """Of the first few."""


@cache.region("functions", tags=["list:{list_id}"])
def deleted_of(list_id: int) -> tuple[Deleted, ...]:
    """Return the recent deletions from a list, the latest first. Some may be too old to be brought
    back."""
    first = Prefetch("tasks", Task.with_deleted.order_by(*ORDER)[:NAMES], to_attr="first")
    made = Deletion.objects.filter(list_id=list_id).order_by("-pk").prefetch_related(first)
    return tuple(
        Deleted(each.pk, each.made_at, each.number, tuple(task.name for task in each.first))
        for each in made.annotate(number=Count("tasks")).filter(number__gt=0)[:SHOWN]
    )


def kept_since() -> datetime:
    """Return the time since which deletions can be undone."""
    return timezone.now() - timedelta(days=settings.DELETED_TASKS_DAYS)


def undo(list_id: int | None, deletion_id: int) -> int:
    """Bring the tasks of a deletion back to their former positions; return their number: 0 if
    they are back already. Raises CapacityError, and Deletion.DoesNotExist, also for one that is
    too old."""
    with change_of(list_id):
        deletion = Deletion.objects.get(list_id=list_id, pk=deletion_id, made_at__gt=kept_since())
        tasks = Task.with_deleted.filter(deletion=deletion)
        if number := tasks.count():
            check_room(deletion.list, number)
        return tasks.update(deletion=None)


def purge() -> int:
    """Remove for good, in all lists, the deletions that are too old; return the number of tasks."""
    old = Deletion.objects.filter(made_at__lte=kept_since())
    return sum(map(_purge, old.order_by("list").values_list("list", flat=True).distinct()))


def forget(list_id: int | None) -> int:
    """Remove for good all that was deleted from a list; return the number of tasks."""
    return 0 if list_id is None else _purge(list_id, timezone.now())


def _purge(list_id: int, before: datetime | None = None) -> int:
    total = 0
    while True:
        with change_of(list_id):
            removed = _remove_old(list_id, before)
        total += removed
        if removed < AT_ONCE:
            return total


def _remove_old(list_id: int, before: datetime | None = None) -> int:
    """Remove deletions made before a time, or else those that can no longer be undone; return the
    number of tasks: `AT_ONCE` if there may be more."""
    old = Deletion.objects.filter(list_id=list_id, made_at__lte=before or kept_since())
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
