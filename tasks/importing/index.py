"""The index as an import changes it: rows are written in batches, and forgotten."""

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
"""Rows that are read, or written, with one query."""
FLUSH_SECONDS = 1.0
"""After this long, rows are written even when they are fewer: the pages show them."""
TRIES = 5
"""How often a batch is written, before the database's refusal is the run's."""
LONGEST_PAUSE = 0.2
"""Seconds between two of them."""


class IndexWriter:
    """Writes rows; the last of them at `flush`."""

    def __init__(self) -> None:
        self._rows: list[ImportedFile] = []
        self._flushed = time.monotonic()

    def add(self, row: ImportedFile) -> None:
        """Write a row, or write it over that of the same path; soon."""
        self._rows.append(row)
        if len(self._rows) >= BATCH or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet, in one transaction. Raises DatabaseError."""
        if self._rows:
            for left in reversed(range(TRIES)):
                try:
                    self._write()
                except OperationalError:
                    if not left:
                        raise
                    # Another run writes the same rows: of a deadlock the database ends one side.
                    time.sleep(random.uniform(0, LONGEST_PAUSE))
                else:
                    break
            self._rows.clear()
        self._flushed = time.monotonic()

    def _write(self) -> None:
        # MariaDB has one kind of upsert, for all unique columns, and wants none named.
        named = connection.features.supports_update_conflicts_with_target
        ImportedFile.objects.bulk_create(
            self._rows,
            update_conflicts=True,
            unique_fields=["path_digest"] if named else None,
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


def rows_of(found: Iterable[SourceFileInfo]) -> dict[str, ImportedFile]:
    """Return the rows that files of a source have already, by the digests of their paths."""
    digests = [path_digest(file.path) for file in found]
    rows = ImportedFile.objects.filter(path_digest__in=digests)
    return {row.path_digest: row for row in rows}


def rows_from(root: str) -> Iterator[ImportedFile]:
    """Yield the rows of files that were imported with the source of this root."""
    # Some databases compare text without regard to case, so what they find is compared again.
    for row in ImportedFile.objects.filter(root=root).iterator(BATCH):
        if row.root == root:
            yield row


def is_stored(row: ImportedFile) -> bool:
    """Whether the content that a row describes is stored, and has not expired."""
    content = read_file.peek(*version_of(row))
    return content is not None and content.digest == row.digest


def forget(rows: Collection[ImportedFile]) -> None:
    """Take rows out of the index, and let their content go unless other rows describe it too."""
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH)):
        with transaction.atomic():
            gone = ImportedFile.objects.filter(pk__in=[row.pk for row in batch])
            # Nobody attaches one of them to a task between the two steps of the deletion.
            list(gone.select_for_update().values_list("pk"))
            gone.delete()
            others = ImportedFile.objects.filter(source__in=[row.source for row in batch])
            kept = {version_of(row) for row in others}
            for row in batch:
                if (version := version_of(row)) not in kept:
                    read_file.invalidate(*version)


def version_of(row: ImportedFile) -> tuple[str, int, str]:
    """Return the arguments of `read_file` that the row's content is stored under."""
    return name_of(row.source), row.size, row.version
