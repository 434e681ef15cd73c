"""The changes of an import to the index: rows are written in batches, and deleted."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from django.db import (
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
    transaction,
)

from tasks.files.content import kept_without_source, name_of, read_file
from tasks.models import ImportedFile
from tasks.sources.fetching.patience import patience

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from datetime import datetime

    from tasks.importing.progress import Change

BATCH = 500
"""Rows that one query reads or writes."""
ROWS = 2000
"""Rows of one transaction. To sync thousands of files takes little longer than to sync a few."""
FLUSH_SECONDS = 1.0
"""After this time a smaller number is written too, so that the pages show its files."""
TRIES = 5
"""Attempts at a query that the database refuses. If the last one fails, the run ends."""
LONGEST_PAUSE = 0.2
"""The longest pause between two attempts, in seconds."""
AWAY_SECONDS = 60.0
"""For as long a query is repeated while the database is away, as it is when it restarts."""
AWAY_PAUSE = 2.0
"""Seconds between two of these."""
_REFUSED = {1044, 1045, 1049}
"""MariaDB's errors for a login or a database that it does not know."""

T = TypeVar("T")


def patiently(query: Callable[[], T]) -> T:
    """Return the result of a query outside of a transaction. It is repeated if another run writes
    the same rows and the database has ended a deadlock, and while the database is away. Raises
    DatabaseError, InterfaceError."""
    refused, ends = 0, time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return query()
        except (OperationalError, IntegrityError, InterfaceError) as error:
            connection.close_if_unusable_or_obsolete()
            if connection.connection is None:
                may_come = connection.vendor != "sqlite" and error.args[0] not in _REFUSED
                if not may_come or time.monotonic() > ends:
                    raise
                patience().say(f"the database is away: {error}; another try in {AWAY_PAUSE:.0f} s")
                time.sleep(AWAY_PAUSE)
                continue
            refused += 1
            if refused == TRIES:
                raise
            time.sleep(random.uniform(0, LONGEST_PAUSE))


@dataclass(slots=True)
class _Batch:
    """Rows that are written together, after the content of their files is on disk."""

    rows: list[ImportedFile] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    """As what the file of each row counts."""
    synced: Future[None] = field(default_factory=Future)

    def sync(self, sync: Callable[[], None]) -> None:
        try:
            sync()
        except BaseException as error:
            self.synced.set_exception(error)
        else:
            self.synced.set_result(None)


class IndexWriter:
    """Writes rows in batches; `flush` writes the last ones. While the content of one batch is
    brought to disk, the next one is filled.

    A row of another source is not replaced, even if another run has added it at this moment.
    """

    def __init__(
        self,
        sync: Callable[[], None],
        taken: Callable[[ImportedFile, Change, KnownRow], None] | None,
    ) -> None:
        """``sync`` brings the content of the rows to disk, before they are written, in a thread of
        its own. ``taken`` is called with a row that was not written, as what its file counts, and
        the other source's row of this path. None: rows of other sources are replaced."""
        self._sync = sync
        self._latest = _Batch()
        self._syncing: _Batch | None = None
        self._taken = taken
        self._begun = time.monotonic()

    @property
    def unwritten(self) -> Iterator[tuple[ImportedFile, Change]]:
        """The rows that are not written yet, and as what the file of each counts."""
        for batch in filter(None, (self._syncing, self._latest)):
            yield from zip(batch.rows, batch.changes, strict=True)

    def add(self, row: ImportedFile, change: Change) -> None:
        """Write a row, whose file counts as ``change``, with the next batch. It replaces a row of
        the same path."""
        self._latest.rows.append(row)
        self._latest.changes.append(change)
        if self._syncing is not None and self._syncing.synced.done():
            self._write_synced()
        age = time.monotonic() - self._begun
        if len(self._latest.rows) >= ROWS or age >= FLUSH_SECONDS:
            self._begin_sync()

    def flush(self) -> None:
        """Write the remaining rows. Raises DatabaseError, and what ``sync`` raises."""
        self._begin_sync()
        self._write_synced()

    def _begin_sync(self) -> None:
        self._write_synced()
        self._begun = time.monotonic()
        if self._latest.rows:
            self._syncing, self._latest = self._latest, _Batch()
            threading.Thread(target=self._syncing.sync, args=(self._sync,), daemon=True).start()

    def _write_synced(self) -> None:
        """Write the rows of the batch that is synced, in one transaction."""
        if self._syncing is None:
            return
        self._syncing.synced.result()
        batch = self._syncing
        refused = patiently(partial(self._write, batch.rows))
        self._syncing = None
        if self._taken is not None:
            for row, change in zip(batch.rows, batch.changes, strict=True):
                if (other := refused.get(row.path_digest)) is not None:
                    self._taken(row, change, other)

    def _write(self, rows: list[ImportedFile]) -> dict[str, KnownRow]:
        """Write rows; return the rows of other sources whose paths some of them have, by the
        digests of these paths."""
        with transaction.atomic():
            # The lock keeps other runs from changing these rows until this transaction ends.
            present = rows_of([row.path_digest for row in rows], locked=True)
            new, changed, refused = [], [], {}
            for row in rows:
                former = present.get(row.path_digest)
                if former is None:
                    new.append(row)
                elif self._taken is not None and is_of_another_source(
                    former, (row.root, row.into), row.source
                ):
                    refused[row.path_digest] = former
                else:
                    changed.append(row)
            # Not an upsert: if another run has added one of them by now, this one looks again.
            ImportedFile.objects.bulk_create(new, BATCH)
            # MariaDB's upsert is always for all unique columns, and accepts no names of columns.
            accepts_names = connection.features.supports_update_conflicts_with_target
            ImportedFile.objects.bulk_create(
                changed,
                BATCH,
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


class KnownRow(NamedTuple):
    """The part of a file's row that an import compares with what it finds."""

    source: str
    size: int
    version: str
    digest: str
    root: str
    into: str


def is_of_another_source(row: KnownRow, origin: tuple[str, str], source: str) -> bool:
    """Whether the row of a path is of another source than a file with this root and folder of the
    site (``origin``) and this source. A file that is found with two sources (in a folder, and
    alone) is of both."""
    return (row.root, row.into) != origin and row.source != source


def taken_by(row: KnownRow) -> str:
    """Return why a file is refused whose path has the row of another source."""
    return (
        f"has the name of a file from {row.root or row.source!r}; give --into FOLDER to keep both, "
        "or --replace to put this one in its place"
    )


def rows_of(digests: Sequence[str], *, locked: bool = False) -> dict[str, KnownRow]:
    """Return the existing rows by the digests of their paths. ``locked``: no other connection can
    change them before this transaction ends."""
    found: dict[str, KnownRow] = {}
    for batch in _batches(digests):
        rows = ImportedFile.objects.filter(path_digest__in=batch)
        if locked:
            rows = rows.select_for_update()
        for digest, *known in rows.values_list("path_digest", *KnownRow._fields):
            found[digest] = KnownRow(*known)
    return found


def whole_rows_of(digests: Collection[str]) -> dict[str, ImportedFile]:
    """Return the existing rows by the digests of their paths, with all their columns."""
    return ImportedFile.objects.in_bulk(digests, field_name="path_digest") if digests else {}


def paths_from(root: str, into: str) -> Iterator[tuple[int, str, str, datetime]]:
    """Yield the files that were imported from the source with this root, into this folder of the
    site: the primary key, the digest of the path, the path, and the time of the import of each."""
    rows = ImportedFile.objects.filter(root=root, into=into).order_by("pk")
    columns = rows.values_list("pk", "path_digest", "path", "imported_at", "root", "into")
    key = 0
    # MariaDB's client holds all rows that a query finds, so each query finds some.
    while batch := patiently(partial(list[Any], columns.filter(pk__gt=key)[:BATCH])):
        for key, digest, path, imported_at, *found in batch:
            # Some databases ignore case when they compare text, so compare again.
            if found == [root, into]:
                yield key, digest, path, imported_at


def rows_with(keys: Sequence[int]) -> Iterator[ImportedFile]:
    """Yield the rows with these primary keys that are still there, in their order."""
    for batch in _batches(keys):
        found = ImportedFile.objects.in_bulk(batch)
        yield from (found[key] for key in batch if key in found)


def number_from(root: str, into: str) -> int:
    """Return the number of files of `paths_from`; more if the database ignores case."""
    return ImportedFile.objects.filter(root=root, into=into).count()


def is_stored(row: KnownRow) -> bool:
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


def forget(keys: Sequence[int], root: str, into: str) -> None:
    """Delete the rows with these primary keys, unless they are of another source by now. Discard
    their content unless other rows describe it too."""
    for batch in _batches(keys):
        patiently(partial(_forget, batch, root, into))


def _forget(keys: Sequence[int], root: str, into: str) -> None:
    with transaction.atomic():
        gone = ImportedFile.objects.filter(pk__in=keys, root=root, into=into)
        # Lock the rows: no request may attach one to a task between the two steps of delete().
        rows = list(gone.select_for_update())
        gone.delete()
        others = ImportedFile.objects.filter(source__in=[row.source for row in rows])
        kept = {version_of(row) for row in others}
        for row in rows:
            if (version := version_of(row)) not in kept:
                # An invalidation could reach other files, whose source may be gone by now.
                transaction.on_commit(partial(read_file.discard, *version))


def _batches(all_: Sequence[T]) -> Iterator[Sequence[T]]:
    return (all_[start : start + BATCH] for start in range(0, len(all_), BATCH))


def version_of(row: ImportedFile | KnownRow) -> tuple[str, int, str]:
    """Return the arguments of `read_file` for the content of a row."""
    return name_of(row.source), row.size, row.version
