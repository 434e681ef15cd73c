"""What the pages show, kept in the "functions" region.

Everything about a list carries the tag ``list:<id>``; whatever changes the list invalidates it.
"""

from dataclasses import dataclass
from enum import StrEnum

from django.db.models import Count, Q

from beakercache import cache
from tasks.models import Task, TaskList

PAGE_SIZE = 50


class Show(StrEnum):
    """Which tasks of a list."""

    ALL = "all"
    OPEN = "open"
    DONE = "done"

    @property
    def label(self) -> str:
        return self.value.capitalize()


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks a list has."""

    open: int = 0
    done: int = 0

    @property
    def all(self) -> int:
        return self.open + self.done

    def of(self, show: Show) -> int:
        return {Show.ALL: self.all, Show.OPEN: self.open, Show.DONE: self.done}[show]


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task as a page shows it."""

    id: int
    name: str
    done: bool


@cache.region("functions")
def list_of(user_id: int) -> int | None:
    """Return the id of a user's list, None before the first task."""
    return TaskList.objects.filter(user_id=user_id).values_list("pk", flat=True).first()


@dataclass(frozen=True, slots=True)
class TaskPage:
    """A page of a list, with the numbers of all its tasks."""

    counts: Counts = Counts()
    number: int = 1
    rows: tuple[TaskRow, ...] = ()


@cache.region("functions", tags=["list:{list_id}"])
def page_of(list_id: int, show: Show, number: int) -> TaskPage:
    """Return page ``number``, from 1, of the tasks to show, newest first; the nearest there is."""
    tasks = Task.objects.filter(list_id=list_id)
    counts = Counts(
        **tasks.aggregate(
            open=Count("pk", filter=Q(done=False)), done=Count("pk", filter=Q(done=True))
        )
    )
    if show is not Show.ALL:
        tasks = tasks.filter(done=show is Show.DONE)
    last = max(1, -(-counts.of(show) // PAGE_SIZE))
    number = min(max(number, 1), last)
    start = (number - 1) * PAGE_SIZE
    rows = tasks.values_list("id", "name", "done")[start : start + PAGE_SIZE]
    return TaskPage(counts, number, tuple(TaskRow(*row) for row in rows))
