"""What the pages show, kept in the "functions" region.

Everything about a list has the tag ``list:<id>``. Every write of the list, its tasks or their files
invalidates it (`tasks.models`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from beakercache import cache
from tasks.lists.searching import words_of
from tasks.models import ORDER, Attachment, Task, TaskList

PAGE_SIZE = 50
WARMED = 1000
"""Users whose first pages are loaded in advance, at the most."""


class Show(StrEnum):
    """Which tasks of a list."""

    ALL = "all"
    """The open ones first."""
    OPEN = "open"
    DUE = "due"
    """Open ones with a date, by it."""
    DONE = "done"

    @property
    def label(self) -> str:
        return self.value.capitalize()


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks a list has."""

    open: int = 0
    due: int = 0
    done: int = 0

    @property
    def all(self) -> int:
        return self.open + self.done

    def of(self, show: Show) -> int:
        return {
            Show.ALL: self.all,
            Show.OPEN: self.open,
            Show.DUE: self.due,
            Show.DONE: self.done,
        }[show]


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task as a page shows it."""

    id: int
    name: str
    done: bool
    due: date | None
    files: int
    """How many are attached."""


def _recent_users() -> QuerySet[User]:
    """Return the users who may still be logged in, those who did last first. The lists of
    visitors are known to their browsers alone."""
    since = timezone.now() - timedelta(seconds=settings.SESSION_COOKIE_AGE)
    recent = User.objects.filter(is_active=True, last_login__gte=since)
    return recent.order_by("-last_login", "-pk")


def _lists_to_warm() -> QuerySet[User, int]:
    return _recent_users().values_list("pk", flat=True)[:WARMED]


def _pages_to_warm() -> Iterator[tuple[int, Show, int]]:
    """Yield the calls for the pages that are shown first."""
    lists = _recent_users().filter(task_list__isnull=False).values_list("task_list", flat=True)
    return ((list_id, Show.ALL, 1) for list_id in lists[:WARMED])


@cache.region("functions", tags=["list of:{user_id}"], warm=_lists_to_warm)
def list_of(user_id: int) -> int | None:
    """Return the id of a user's list, None before the first task."""
    return TaskList.objects.filter(user_id=user_id).values_list("pk", flat=True).first()


@dataclass(frozen=True, slots=True)
class TaskPage:
    """A page of a list, with the numbers of all its tasks."""

    counts: Counts = Counts()
    number: int = 1
    rows: tuple[TaskRow, ...] = ()


@cache.region("functions", tags=["list:{list_id}"], warm=_pages_to_warm)
def page_of(list_id: int, show: Show, number: int, search: str = "") -> TaskPage:
    """Return page ``number``, from 1, of the tasks to show, or of those among them whose names
    contain every word of ``search``; the nearest there is. The numbers are of all such tasks."""
    tasks = found(list_id, Show.ALL, search)
    counts = Counts(
        **tasks.aggregate(
            open=Count("pk", filter=Q(done=False)),
            due=Count("pk", filter=Q(done=False, due__isnull=False)),
            done=Count("pk", filter=Q(done=True)),
        )
    )
    last = max(1, -(-counts.of(show) // PAGE_SIZE))
    number = min(max(number, 1), last)
    start = (number - 1) * PAGE_SIZE
    rows = found(list_id, show, search).values_list("id", "name", "done", "due")
    page = rows[start : start + PAGE_SIZE]
    return TaskPage(counts, number, tuple(_with_files(list(page))))


def page_of_due(task: Task) -> int:
    """Return the number of the page of what is due that has this task, which has a date."""
    earlier = Q(due__lt=task.due) | Q(due=task.due, position__gt=task.position)
    return found(task.list_id, Show.DUE, "").filter(earlier).count() // PAGE_SIZE + 1


def _with_files(rows: list[tuple[int, str, bool, date | None]]) -> Iterator[TaskRow]:
    attached = Attachment.objects.filter(task__in=[task_id for task_id, *_ in rows])
    files = dict(attached.values_list("task").annotate(Count("pk")))
    for row in rows:
        yield TaskRow(*row, files.get(row[0], 0))


def found(list_id: int | None, show: Show, search: str) -> QuerySet[Task]:
    """Return the tasks of a list to show, in order."""
    tasks = Task.objects.filter(list_id=list_id)
    if show is Show.DUE:
        tasks = tasks.filter(done=False, due__isnull=False).order_by("due", *ORDER)
    elif show is Show.ALL:
        tasks = tasks.order_by("done", *ORDER)
    else:
        tasks = tasks.filter(done=show is Show.DONE)
    for word in words_of(search):
        tasks = tasks.filter(name__contains_folded=word)
    return tasks
