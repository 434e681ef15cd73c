"""The changes of an import to the index: rows are written in batches, and deleted."""

from __future__ import annotations

import random
import time
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

from django.db import IntegrityError, OperationalError, connection, transaction

from tasks.files.content import kept_without_source, name_of, path_digest, read_file
from tasks.models import ImportedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

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
    """Writes rows in batches; `flush` writes the last ones.

    A row of another source is not replaced, even if another run has added it at this moment.
    """

    def __init__(
        self,
        sync: Callable[[], None],
        taken: Callable[[ImportedFile, ImportedFile], None] | None,
    ) -> None:
        """``sync`` brings the content of the rows to disk, before they are written. ``taken`` is
        called with a row that was not written, and with the other source's row of this path. None:
        rows of other sources are replaced."""
        self._sync = sync
        self._rows: list[ImportedFile] = []
        self.unwritten = 0
        """The number of imported files whose rows are not written yet."""
        self._taken = taken
        self._flushed = time.monotonic()

    def add(self, row: ImportedFile, *, imported: bool = False) -> None:
        """Write a row with the next batch. It replaces a row of the same path. ``imported``:
        whether its file counts as imported."""
        self._rows.append(row)
        self.unwritten += imported
        if len(self._rows) >= BATCH or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the remaining rows, in one transaction. Raises DatabaseError."""
        if self._rows:
            self._sync()
            for left in reversed(range(TRIES)):
                try:
                    refused = self._write()
                except (OperationalError, IntegrityError):
                    if not left:
                        raise
                    # Another run writes the same rows, and the database has ended a deadlock.
                    time.sleep(random.uniform(0, LONGEST_PAUSE))
                else:
                    break
            self._rows.clear()
            self.unwritten = 0
            if self._taken is not None:
                for row, other in refused:
                    self._taken(row, other)
        self._flushed = time.monotonic()

    def _write(self) -> list[tuple[ImportedFile, ImportedFile]]:
        """Write the rows; return those whose path another source has, with that one's rows."""
        with transaction.atomic():
            digests = [row.path_digest for row in self._rows]
            # The lock keeps other runs from changing these rows until this transaction ends.
            present = {
                row.path_digest: row
                for row in ImportedFile.objects.filter(path_digest__in=digests)
                .select_for_update()
                .only("path_digest", "root", "into", "source")
            }
            new, changed, refused = [], [], []
            for row in self._rows:
                former = present.get(row.path_digest)
                if former is None:
                    new.append(row)
                elif self._taken is not None and is_of_another_source(former, row):
                    refused.append((row, former))
                else:
                    changed.append(row)
            # Not an upsert: if another run has added one of them by now, this one looks again.
            ImportedFile.objects.bulk_create(new)
            # MariaDB's upsert is always for all unique columns, and accepts no names of columns.
            accepts_names = connection.features.supports_update_conflicts_with_target
            ImportedFile.objects.bulk_create(
                changed,
                update_conflicts=True,
                unique_fields=["path_digest"] if accepts_names else None,
                update_fields=_UPDATED,
            )
        return refused


_UPDATED = [
    "path",
    "size",
    "media_type",
    "digest",
    "source",
    "version",
    "root",
    "into",
    "imported_at",
]


def is_of_another_source(row: ImportedFile, other: ImportedFile) -> bool:
    """Whether two rows of one path are of two sources. A file that is found with two sources (in a
    folder, and alone) is of both."""
    return (row.root, row.into) != (other.root, other.into) and row.source != other.source


def rows_of(files: Iterable[SourceFileInfo]) -> dict[str, ImportedFile]:
    """Return the existing rows of a source's files, by the digests of their paths."""
    digests = [path_digest(file.path) for file in files]
    rows = ImportedFile.objects.filter(path_digest__in=digests)
    return {row.path_digest: row for row in rows}


def rows_from(root: str, into: str) -> Iterator[ImportedFile]:
    """Yield the rows of the files that were imported from the source with this root, into this
    folder of the site."""
    # Some databases ignore case when they compare text, so compare again.
    for row in ImportedFile.objects.filter(root=root, into=into).iterator(BATCH):
        if (row.root, row.into) == (root, into):
            yield row


def number_from(root: str, into: str) -> int:
    """Return the number of rows of `rows_from`; more if the database ignores case."""
    return ImportedFile.objects.filter(root=root, into=into).count()


def is_stored(row: ImportedFile) -> bool:
    """Whether the content of a row is stored and has not expired."""
    return read_file.stored_digest(*version_of(row)) == row.digest


def is_kept(row: ImportedFile) -> bool:
    """Whether the content of a row is stored, and may have expired."""
    content = read_file.peek_stale(*version_of(row))
    return content is not None and content.digest == row.digest


def keep(row: ImportedFile) -> bool:
    """Store the content of a row for another period if it has expired. Returns whether it is
    stored, whole."""
    try:
        with kept_without_source(), closing(read_file(*version_of(row))) as content:
            return content.stored and content.digest == row.digest
    except OSError:
        return False


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
