"""The tables: lists, their tasks, and the index of imported files.

Each says which cache tags its rows have. A write of rows invalidates the entries with their tags:
``list:`` is everything that shows a list, ``user:`` every page of a user, and ``files`` everything
that shows the index of files.
"""

import secrets
import time

from django.conf import settings
from django.db import models

from beaker_regions.django import row_tags

STEP = 1000
"""Between the positions of tasks that are added at once."""


def latest_position() -> int:
    """Return the position of a task that is added now: the time, in microseconds since the epoch.
    So tasks of two lists that become one are in the order in which they were added.
    """
    return time.time_ns() // 1000


def random_token() -> str:
    return secrets.token_hex(16)


@row_tags("list:{pk}", "user:{user_id}", "list of:{user_id}")
class TaskList(models.Model):
    """The tasks of one user or, until a log-in, of one browser's session."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="task_list",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"list {self.pk}" if self.user is None else f"list of {self.user}"


@row_tags("list:{list_id}", "share:{token}")
class Share(models.Model):
    """The address at which others may read a list."""

    list = models.OneToOneField(TaskList, on_delete=models.CASCADE, related_name="share")
    token = models.CharField(max_length=32, unique=True, default=random_token)
    """Everybody who knows it may read. Hexadecimal, as databases may ignore the case of letters."""

    def __str__(self) -> str:
        return f"share of {self.list}"


@row_tags("list:{list_id}")
class Deletion(models.Model):
    """Tasks that were deleted together, as long as that can be undone."""

    list = models.ForeignKey(TaskList, on_delete=models.CASCADE, related_name="deletions")
    made_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"deletion {self.pk}"


ORDER = ("-position", "-id")
"""Of the tasks of a list: those that were added later are further up."""


class LiveTasks(models.Manager["Task"]):
    """The tasks that are not deleted: the only ones that anybody is shown."""

    def get_queryset(self) -> models.QuerySet["Task"]:
        return super().get_queryset().filter(deletion=None)


@row_tags("list:{list_id}", "user:{list__user_id}")
class Task(models.Model):
    """One thing to do."""

    # The indexes below begin with the list and so serve the foreign key too.
    list = models.ForeignKey(
        TaskList, on_delete=models.CASCADE, related_name="tasks", db_index=False
    )
    name = models.CharField(max_length=255)
    done = models.BooleanField(default=False)
    due = models.DateField(null=True, blank=True)
    position = models.BigIntegerField(default=latest_position, editable=False)
    """The higher, the further up."""
    created_at = models.DateTimeField(auto_now_add=True)
    deletion = models.ForeignKey(
        Deletion,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        editable=False,
        related_name="tasks",
    )

    objects = LiveTasks()
    with_deleted = models.Manager()

    class Meta:
        # New tasks come first on every page; a task that is done keeps its place.
        ordering = ORDER
        # Read backwards. The last one also has all that it takes to count.
        indexes = (
            models.Index(fields=("list", "deletion", "position", "id"), name="tasks_in_order"),
            models.Index(
                fields=("list", "deletion", "done", "position", "id"),
                name="tasks_by_done_in_order",
            ),
            models.Index(fields=("list", "deletion", "done", "due"), name="tasks_by_due"),
        )

    def __str__(self) -> str:
        return self.name


@row_tags("files")
class ImportedFile(models.Model):
    """The index row of one file in the files region."""

    path_digest = models.CharField(max_length=64, unique=True, editable=False)
    """SHA-256 of the path's UTF-8, in hex: its identity. Some databases compare text without
    regard to case, and none keeps an index of long ones."""
    path = models.TextField()
    """On the site: below `into`, as it is below its source, with "/" between its parts."""
    size = models.BigIntegerField()
    """Bytes."""
    media_type = models.CharField(max_length=255)
    digest = models.CharField(max_length=64)
    """SHA-256 of the content, in hex."""
    source = models.TextField()
    """Where the content came from: an absolute path, or a URL."""
    version = models.CharField(max_length=255, default="")
    """Which content the source had when it was read, as the source tells versions apart."""
    root = models.TextField(default="")
    """What it was imported with: the absolute name of a folder or an archive, or a URL."""
    into = models.TextField(default="", editable=False)
    """The folder of the site into which its source was imported; "" for the top. With the root, it
    is what no other source's file replaces unasked."""
    imported_at = models.DateTimeField()
    folder = models.CharField(max_length=64, default="", editable=False)
    """`path_digest` of the path of the folder it lies in, "" for the one that holds all."""
    sort_name = models.CharField(max_length=255, default="", editable=False)
    """How its name begins, without regard to case: what lists are sorted by."""

    class Meta:
        indexes = (
            models.Index(fields=("folder", "sort_name"), name="files_by_name"),
            models.Index(fields=("folder", "size"), name="files_by_size"),
        )

    def __str__(self) -> str:
        return self.path


class SourceMount(models.Model):
    """A disk that was mounted in a source, or held it, when files were imported from it."""

    root = models.TextField()
    """As of `ImportedFile`."""
    point = models.TextField()
    """The absolute name of the mount point."""

    def __str__(self) -> str:
        return self.point


class ImportRun(models.Model):
    """A run of the import."""

    source = models.TextField()
    """What the operator named: a path, a URL, or a list of URLs."""
    into = models.TextField(default="")
    """The folder of the site that the files went into; "" for the top."""
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    """When the run last wrote its numbers."""
    ended_at = models.DateTimeField(null=True)
    """None: it is under way, or was killed."""
    host = models.CharField(max_length=255)
    process = models.CharField(max_length=64)
    """Which process of the host it is (`tasks.importing.runs`)."""
    status = models.PositiveSmallIntegerField(null=True)
    """The exit status, when it has ended."""
    error = models.TextField(default="")
    new = models.PositiveIntegerField(default=0)
    """The numbers are of files."""
    changed = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    forgotten = models.PositiveIntegerField(default=0)
    size = models.BigIntegerField(default=0)
    """Bytes that were read."""

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"import of {self.source}"


@row_tags("list:{task__list_id}", "user:{task__list__user_id}")
class Attachment(models.Model):
    """An imported file that belongs to a task."""

    # The constraint's index begins with the task and so serves this foreign key too.
    task = models.ForeignKey(
        Task, on_delete=models.CASCADE, related_name="attachments", db_index=False
    )
    file = models.ForeignKey(ImportedFile, on_delete=models.CASCADE, related_name="attachments")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("task", "file"), name="attached_once"),)

    def __str__(self) -> str:
        return f"{self.file} of {self.task}"
