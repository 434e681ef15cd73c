"""The changes of an import to the index: rows are written in batches, and deleted."""

from __future__ import annotations

import random
import time
from itertools import islice
from typing import TYPE_CHECKING

from django.db import OperationalError, connection, transaction

from tasks.files.content import name_of, path_digest, read_file
from tasks.models import ImportedFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from tasks.importing.sources import SourceFileInfo

BATCH = 500
"""Rows that one query reads or writes."""
FLUSH_SECONDS = 1.0
"""After this time a smaller batch is written too, so that the pages show its files."""
TRIES = 5
"""Attempts to write a batch. If the last one fails, the run ends."""
LONGEST_PAUSE = 0.2
"""The longest pause between two attempts, in seconds."""


class IndexWriter:
    """Writes rows in batches; `flush` writes the last ones."""

    def __init__(self) -> None:
        self._rows: list[ImportedFile] = []
        self._flushed = time.monotonic()

    def add(self, row: ImportedFile) -> None:
        """Write a row with the next batch. It replaces a row of the same path."""
        self._rows.append(row)
        if len(self._rows) >= BATCH or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the remaining rows, in one transaction. Raises DatabaseError."""
        if self._rows:
            for left in reversed(range(TRIES)):
                try:
                    self._write()
                except OperationalError:
                    if not left:
                        raise
                    # Another run writes the same rows, and the database has ended a deadlock.
                    time.sleep(random.uniform(0, LONGEST_PAUSE))
                else:
                    break
            self._rows.clear()
        self._flushed = time.monotonic()

    def _write(self) -> None:
        # MariaDB's upsert is always for all unique columns, and accepts no names of columns.
        accepts_names = connection.features.supports_update_conflicts_with_target
        ImportedFile.objects.bulk_create(
            self._rows,
            update_conflicts=True,
            unique_fields=["path_digest"] if accepts_names else None,
            update_fields=_UPDATED,
        )


_UPDATED = [
    "path",
    "size",
    "media_type",
    "digest",
    "source",
    "version",
    "root",
    "imported_at",
]


def rows_of(files: Iterable[SourceFileInfo]) -> dict[str, ImportedFile]:
    """Return the existing rows of a source's files, by the digests of their paths."""
    digests = [path_digest(file.path) for file in files]
    rows = ImportedFile.objects.filter(path_digest__in=digests)
    return {row.path_digest: row for row in rows}


def rows_from(root: str) -> Iterator[ImportedFile]:
    """Yield the rows of the files that were imported from the source with this root."""
    # Some databases ignore case when they compare text, so compare again.
    for row in ImportedFile.objects.filter(root=root).iterator(BATCH):
        if row.root == root:
            yield row


def is_stored(row: ImportedFile) -> bool:
    """Whether the content of a row is stored and has not expired."""
    content = read_file.peek(*version_of(row))
    return content is not None and content.digest == row.digest


def forget(rows: Collection[ImportedFile]) -> None:
    """Delete rows from the index. Invalidate their content unless other rows describe it too."""
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH)):
        with transaction.atomic():
            gone = ImportedFile.objects.filter(pk__in=[row.pk for row in batch])
            # Lock the rows: no request may attach one to a task between the two steps of delete().
            list(gone.select_for_update().values_list("pk"))
            gone.delete()
            others = ImportedFile.objects.filter(source__in=[row.source for row in batch])
            kept = {version_of(row) for row in others}
            for row in batch:
                if (version := version_of(row)) not in kept:
                    read_file.invalidate(*version)


def version_of(row: ImportedFile) -> tuple[str, int, str]:
    """Return the arguments of `read_file` for the content of a row."""
    return name_of(row.source), row.size, row.version
