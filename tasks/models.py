"""The tables: lists, their tasks, and the index of imported files."""

from django.conf import settings
from django.db import models


class TaskList(models.Model):
    """The tasks of one user or, as long as nobody logs in, of one browser's session."""

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


class Task(models.Model):
    """One thing to do."""

    # The indexes below begin with the list and so serve the foreign key too.
    list = models.ForeignKey(
        TaskList, on_delete=models.CASCADE, related_name="tasks", db_index=False
    )
    name = models.CharField(max_length=255)
    done = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        # Newest first on every page; a task that is done keeps its place.
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("list", "-id"), name="tasks_all"),
            models.Index(fields=("list", "done", "-id"), name="tasks_by_done"),
        )

    def __str__(self) -> str:
        return self.name


class ImportedFile(models.Model):
    """The index row of one file in the files region."""

    path_digest = models.CharField(max_length=64, unique=True, editable=False)
    """SHA-256 of the path's UTF-8, in hex: its identity. Some databases compare text without
    regard to case, and none keeps an index of long ones."""
    path = models.TextField()
    """Below the source that was imported, "/" between its parts."""
    size = models.BigIntegerField()
    """Bytes."""
    media_type = models.CharField(max_length=255)
    digest = models.CharField(max_length=64)
    """SHA-256 of the content, in hex."""
    source = models.TextField()
    """Where the content came from: an absolute path."""
    source_mtime_ns = models.BigIntegerField()
    """The source's modification time when it was read, in nanoseconds since the epoch."""
    imported_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.path
