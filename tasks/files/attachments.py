"""The attachments: files that belong to tasks, and the changes of them.

Cached values about a list's attachments have the list's tag. If they contain names of files, they
have the tag of the files' index too.
"""

from __future__ import annotations

from dataclasses import dataclass

from beakercache import cache
from tasks.lists.capacity import check_files
from tasks.lists.changes import change_of
from tasks.lists.queries import Show, found
from tasks.models import Attachment, ImportedFile, Task

OFFERED = 50
"""The most tasks that are offered at once."""


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
    """The tasks of a list that have a file, and those to which it can be attached."""

    attached: tuple[TaskName, ...] = ()
    """The first tasks that have it."""
    open: tuple[TaskName, ...] = ()
    """The first open tasks that do not have it, in the list's order."""
    more: bool = False
    """Whether there are more open tasks than these."""


@cache.region("functions", tags=["list:{list_id}", "files"])
def files_of(list_id: int, task_id: int) -> tuple[AttachedFile, ...]:
    """Return the files that belong to a task of a list, by path."""
    files = ImportedFile.objects.filter(
        attachments__task=task_id, attachments__task__list=list_id
    ).order_by("path", "id")
    return tuple(AttachedFile(*row) for row in files.values_list("id", "path", "size"))


def offer(list_id: int | None, file_id: int, search: str = "") -> Offer:
    """Return the tasks of a list that have a file, and the open tasks that do not have it and whose
    names contain every word of ``search``. ``list_id`` is None if there is no list."""
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
    """Attach a file to a task of a list. Raises Task.DoesNotExist, ImportedFile.DoesNotExist and
    CapacityError."""
    with change_of(list_id):
        task = Task.objects.get(list=list_id, pk=task_id)
        # The lock keeps the file from being forgotten until this transaction ends.
        file = ImportedFile.objects.select_for_update().get(pk=file_id)
        if not Attachment.objects.filter(task=task, file=file).exists():
            check_files(task)
            Attachment.objects.create(task=task, file=file)
        return task


def detach(list_id: int | None, task_id: int, file_id: int) -> ImportedFile | None:
    """Detach a file from a task of a list, and return the file; None if it was not attached. Raises
    Task.DoesNotExist."""
    with change_of(list_id):
        task = Task.objects.get(list=list_id, pk=task_id)
        file = ImportedFile.objects.filter(attachments__task=task, pk=file_id).first()
        if file is not None:
            Attachment.objects.filter(task=task, file=file).delete()
        return file
