"""The order of a list's tasks, by hand: positions with room between them.

Deleted tasks count too: they may come back to where they were. To be called within
`changes.change_of` the list.
"""

from django.db.models import F, Max, Q, QuerySet

from tasks.models import STEP, Task, latest_position


def top(list_id: int) -> int:
    """Return the position above all tasks of a list."""
    tasks = Task.with_deleted.filter(list_id=list_id)
    highest = tasks.aggregate(highest=Max("position"))["highest"]
    return latest_position() if highest is None else max(latest_position(), highest + STEP)


def between(task: Task, other: Task, *, above: bool) -> int:
    """Return the position for ``task`` right above or below an ``other``, making room for it."""
    tasks = Task.with_deleted.filter(list_id=task.list_id)
    # No more than the index has of them: there may be thousands to look through.
    others = tasks.exclude(pk=task.pk).only("position")
    lower: Task | None
    upper: Task | None
    if above:
        lower, upper = other, over(others, other).reverse().first()
    else:
        lower, upper = under(others, other).first(), other
    if upper is None:
        return other.position + STEP
    if lower is None:
        return other.position - STEP
    if upper.position - lower.position < 2:
        over(tasks, lower).update(position=F("position") + STEP)
        return lower.position + STEP // 2
    return (lower.position + upper.position) // 2


def over(tasks: QuerySet[Task], task: Task) -> QuerySet[Task]:
    """Return those of ``tasks`` that are further up than ``task``."""
    higher = Q(position__gt=task.position) | Q(id__gt=task.pk)
    return tasks.filter(higher, position__gte=task.position)


def under(tasks: QuerySet[Task], task: Task) -> QuerySet[Task]:
    """Return those of ``tasks`` that are further down than ``task``."""
    lower = Q(position__lt=task.position) | Q(id__lt=task.pk)
    return tasks.filter(lower, position__lte=task.position)
