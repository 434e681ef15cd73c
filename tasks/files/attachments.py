"""Files that belong to tasks: which they are, and the changes of that.

What is shown of a list's attachments carries the list's tag, as everything about it; what names
files carries that of their index too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from beakercache import cache
from tasks.lists.capacity import check_files
from tasks.lists.changes import change_of
from tasks.lists.queries import Show, found
from tasks.models import Attachment, ImportedFile, Task
from tasks.tags import FILES_TAG, tag_of_list, tag_of_user

OFFERED = 50
"""Tasks among which to choose at once."""


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file as a task shows it."""

    id: int
    path: str
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class TaskName:
    """A task as a file shows it."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What a file has to do with the tasks of a list."""

    attached: tuple[TaskName, ...] = ()
    """Those that have it, as far as they are shown."""
    open: tuple[TaskName, ...] = ()
    """Those that could have it, in the list's order."""
    more: bool = False
    """Whether there are others that could, too far down to be among these."""


@cache.region("functions", tags=["list:{list_id}", FILES_TAG])
def files_of(list_id: int, task_id: int) -> tuple[AttachedFile, ...]:
    """Return the files that belong to a task of a list, by path."""
    files = ImportedFile.objects.filter(
        attachments__task=task_id, attachments__task__list=list_id
    ).order_by("path", "id")
    return tuple(AttachedFile(*row) for row in files.values_list("id", "path", "size"))


def offer(list_id: int | None, file_id: int, search: str = "") -> Offer:
    """Return the tasks of a list that have a file, and the open ones that could and whose names
    contain every word of ``search``. None is no list."""
    return Offer() if list_id is None else _offer(list_id, file_id, search)


@cache.region("functions", tags=["list:{list_id}"])
def _offer(list_id: int, file_id: int, search: str) -> Offer:
    attached = found(list_id, Show.ALL, "").filter(attachments__file=file_id)
    others = found(list_id, Show.OPEN, search).exclude(attachments__file=file_id)
    open_ = [TaskName(*row) for row in others.values_list("id", "name")[: OFFERED + 1]]
    return Offer(
        attached=tuple(TaskName(*row) for row in attached.values_list("id", "name")[:OFFERED]),
        open=tuple(open_[:OFFERED]),
        more=len(open_) > OFFERED,
    )


def attach(list_id: int | None, task_id: int, file_id: int) -> Task:
    """Let a file belong to a task of a list. Raises Task.DoesNotExist, ImportedFile.DoesNotExist
    and Full."""
    with change_of(list_id):
        task = Task.objects.get(list=list_id, pk=task_id)
        # Nobody forgets the file meanwhile.
        file = ImportedFile.objects.select_for_update().get(pk=file_id)
        if not Attachment.objects.filter(task=task, file=file).exists():
            check_files(task)
            Attachment.objects.create(task=task, file=file)
        return task


def detach(list_id: int | None, task_id: int, file_id: int) -> ImportedFile | None:
    """Let a file not belong to a task of a list any more; return it, None if it did not. Raises
    Task.DoesNotExist."""
    with change_of(list_id):
        task = Task.objects.get(list=list_id, pk=task_id)
        file = ImportedFile.objects.filter(attachments__task=task, pk=file_id).first()
        if file is not None:
            Attachment.objects.filter(task=task, file=file).delete()
        return file


def before_attachment_deletion(instance: Attachment, origin: Any, **_: Any) -> None:
    """Invalidate what shows a task whose attachment goes with its file. A receiver of pre_delete,
    so that no way to forget files leaves a page behind."""
    if isinstance(origin, ImportedFile) or getattr(origin, "model", None) is ImportedFile:
        tasks = Task.with_deleted.filter(pk=instance.task_id)
        list_id, user_id = tasks.values_list("list_id", "list__user_id").get()
        cache.invalidate_tags(tag_of_list(list_id), *([tag_of_user(user_id)] if user_id else []))
