"""How much a list may hold. Without a limit one browser fills the table, and slows its own pages.

Call these within `changes.change_of`, so that simultaneous requests do not exceed the limit.
"""

from __future__ import annotations

from tasks.models import Attachment, Task, TaskList

MOST = 5000
"""Tasks of a user's list."""
MOST_OF_VISITOR = 1000
"""Tasks of the list of a browser without an account."""
MOST_FILES = 100
"""Files of a task."""


class CapacityError(Exception):
    """A list, or a task, is full. The message is shown to the owner."""


def check_room(tasks: TaskList, more: int) -> None:
    """Raise CapacityError unless a list takes so many tasks more."""
    most = _most(tasks)
    live = Task.objects.filter(list=tasks).count()
    if live + more > most:
        room = most - live
        reason = f"A list has at most {most:,} tasks, and this one has {live:,}."
        way_out = "Delete some of them first."
        if tasks.user_id is None:
            way_out = "Delete some of them first, or sign up: with an account it may have more."
        if more > 1 and room > 0:
            way_out = f"{more:,} more are {more - room:,} too many. {way_out}"
        raise CapacityError(f"{reason} {way_out}")


def make_room(tasks: TaskList, more: int) -> None:
    """Raise CapacityError unless a list takes so many new tasks. A list keeps as many deleted tasks
    as make up twice its limit together with the others; those that were deleted first go for
    good."""
    check_room(tasks, more)
    forget_deleted(tasks, more)


def forget_deleted(tasks: TaskList, more: int = 0) -> None:
    """Remove for good the tasks that were deleted first, if a list has too many with ``more``."""
    of_list = Task.with_deleted.filter(list=tasks)
    excess = of_list.count() + more - 2 * _most(tasks)
    if excess > 0:
        deleted = of_list.exclude(deletion=None).order_by("deletion", "pk")
        Task.with_deleted.filter(
            pk__in=list(deleted.values_list("pk", flat=True)[:excess])
        ).delete()


def takes_another_list(tasks: TaskList) -> bool:
    """Whether the tasks of a visitor's list, all of them, may still become part of a user's."""
    return Task.objects.filter(list=tasks).count() <= 2 * MOST


def _most(tasks: TaskList) -> int:
    return MOST_OF_VISITOR if tasks.user_id is None else MOST


def check_files(task: Task) -> None:
    """Raise CapacityError when a task takes no more files."""
    if Attachment.objects.filter(task=task).count() >= MOST_FILES:
        raise CapacityError(f"A task has at most {MOST_FILES} files. Remove one of them first.")
