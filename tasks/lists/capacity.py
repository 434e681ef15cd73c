"""How much a list may hold. Without a limit one browser fills the table, and slows its own pages.

Call these within `changes.change_of`, so that simultaneous requests do not exceed the limit.
"""

from __future__ import annotations

from django.db.models import Count, Q

from tasks.models import Attachment, Task, TaskList

MOST = 5000
"""Tasks of a user's list."""
MOST_OF_VISITOR = 1000
"""Tasks of the list of a browser without an account."""
MOST_FILES = 100
"""Files of a task."""


class Full(Exception):
    """A list, or a task, is full. The message is shown to the owner."""


def check_room(tasks: TaskList, more: int, *, new: bool = True) -> None:
    """Raise Full unless a list takes so many tasks more: ``new`` ones, or else deleted ones of its
    own that come back. Those that were deleted lately count apart, up to as many again."""
    most = MOST_OF_VISITOR if tasks.user_id is None else MOST
    numbers = Task.with_deleted.filter(list=tasks).aggregate(
        all=Count("pk"), live=Count("pk", filter=Q(deletion=None))
    )
    if numbers["live"] + more > most:
        room = most - numbers["live"]
        reason = f"A list has at most {most:,} tasks, and this one has {numbers['live']:,}."
        way_out = "Delete some of them first."
        if tasks.user_id is None:
            way_out = "Delete some of them first, or sign up: with an account it may have more."
        if more > 1 and room > 0:
            way_out = f"{more:,} more are {more - room:,} too many. {way_out}"
        raise Full(f"{reason} {way_out}")
    if new and numbers["all"] + more > 2 * most:
        raise Full(
            "Too many tasks of this list were deleted within the last hour, in which that can be "
            "undone. Add more in an hour."
        )


def takes_another_list(tasks: TaskList) -> bool:
    """Whether the tasks of a visitor's list, all of them, may still become part of a user's."""
    return Task.with_deleted.filter(list=tasks).count() <= 2 * MOST


def check_files(task: Task) -> None:
    """Raise Full when a task takes no more files."""
    if Attachment.objects.filter(task=task).count() >= MOST_FILES:
        raise Full(f"A task has at most {MOST_FILES} files. Remove one of them first.")
