"""Putting the files of a source into the files region, and their rows into the index.

**The order keeps the index true.** Content is stored first, and durably; its row follows with
others in one transaction. A changed file is stored beside its former version, so whatever stops
the run in between leaves each row with the content that it describes; the next run finds what is
stored already and writes its row without reading it again.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from django.db import connection, transaction
from django.utils import timezone

from beakercache import cache
from regions.backends.files import FileStore
from tasks.files import INDEX_TAG, name_of, path_digest, path_of, read_file
from tasks.importing.media_types import media_type
from tasks.importing.walking import Found, Refused, Source, SourceError
from tasks.models import ImportedFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from regions import CachedFile

BATCH = 500
"""Rows that are read, or written, with one query."""
FLUSH_SECONDS = 1.0
"""After this long, rows are written even when they are fewer: the pages show them."""


class NotStored(Exception):
    """The files region cannot take content: a full disk, most likely. The run is over."""


class Reporter(Protocol):
    """Who is told how an import goes on."""

    def begin(self, files: int, size: int) -> None:
        """So many files of so many bytes, all in all, are there to look at."""

    def advance(self, size: int) -> None:
        """So many more bytes were read, or need not be."""

    def done(self) -> None:
        """One more file is stored as the source has it."""

    def failed(self, path: str, reason: str) -> None:
        """One more file could not be imported."""


@dataclass(slots=True)
class Summary:
    """What became of the files of a source, in numbers of files."""

    imported: int = 0
    """New, or changed, or not stored any more."""
    unchanged: int = 0
    failed: int = 0
    size: int = 0
    """Bytes that were read."""
    seconds: float = 0.0

    @property
    def files(self) -> int:
        return self.imported + self.unchanged + self.failed


class Importer:
    """One run over one source. ``summary`` holds what was done so far, however the run ends."""

    def __init__(self, source: Source, reporter: Reporter) -> None:
        self.summary = Summary()
        self._source = source
        self._reporter = reporter
        # Where the content goes, which must not be taken for a part of the source.
        stores = [cache[region].store for region in cache.options]
        self._without = frozenset(
            os.path.realpath(store.folder) for store in stores if isinstance(store, FileStore)
        )
        self._rows: list[ImportedFile] = []
        self._flushed = time.monotonic()

    def run(self) -> Summary:
        """Import what is new or changed. Raises SourceError when there is nothing that could be
        imported, NotStored when the region cannot take more."""
        started = time.monotonic()
        try:
            self._count()
            for batch in _batches(self._source.walk(self._without)):
                known = self._known(batch)
                for found in batch:
                    if isinstance(found, Refused):
                        self._fail(found.path, found.reason)
                    else:
                        self._take(found, known.get(path_digest(found.path)))
        finally:
            self._flush()
            self.summary.seconds = time.monotonic() - started
        return self.summary

    def _count(self) -> None:
        files = size = refused = 0
        for found in self._source.walk(self._without):
            if isinstance(found, Found):
                files += 1
                size += found.size
            else:
                refused += 1
        if not files and not refused:
            raise SourceError(f"{path_of(self._source.root)!r} holds no files")
        self._reporter.begin(files + refused, size)

    def _known(self, batch: Iterable[Found | Refused]) -> dict[str, ImportedFile]:
        digests = [path_digest(found.path) for found in batch if isinstance(found, Found)]
        rows = ImportedFile.objects.filter(path_digest__in=digests)
        return {row.path_digest: row for row in rows}

    def _take(self, found: Found, row: ImportedFile | None) -> None:
        version = (found.source, found.size, found.mtime_ns)
        if row is not None and (name_of(row.source), row.size, row.source_mtime_ns) == version:
            stored = read_file.peek(*version)
            if stored is not None and stored.digest == row.digest:
                self.summary.unchanged += 1
                self._reporter.advance(found.size)
                self._reporter.done()
                return
        before = self.summary.size
        try:
            content = read_file(*version, self._advance)
        except OSError as error:
            self._fail(found.path, error.strerror or str(error))
        else:
            if not content.stored:
                raise NotStored("its disk may be full; the log line above says what it met")
            self._index(found, content)
            self.summary.imported += 1
            self._reporter.done()
        # What was announced of a file and never came, or was there already, is done with too.
        self._reporter.advance(max(0, found.size - (self.summary.size - before)))

    def _index(self, found: Found, content: CachedFile) -> None:
        self._rows.append(
            ImportedFile(
                path_digest=path_digest(found.path),
                path=found.path,
                size=found.size,
                media_type=media_type(found.path, content),
                digest=content.digest,
                source=path_of(found.source),
                source_mtime_ns=found.mtime_ns,
                imported_at=timezone.now(),
            )
        )
        # Thousands of open files are not what the rows are kept for.
        content.close()
        if len(self._rows) >= BATCH or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            # MariaDB has one kind of upsert, for all unique columns, and wants none named.
            named = connection.features.supports_update_conflicts_with_target
            with transaction.atomic():
                ImportedFile.objects.bulk_create(
                    self._rows,
                    update_conflicts=True,
                    unique_fields=["path_digest"] if named else None,
                    update_fields=_UPDATED,
                )
                cache.invalidate_tags(INDEX_TAG)
            self._rows.clear()
        self._flushed = time.monotonic()

    def _advance(self, size: int) -> None:
        self.summary.size += size
        self._reporter.advance(size)

    def _fail(self, path: str, reason: str) -> None:
        self.summary.failed += 1
        self._reporter.failed(path, reason)


_UPDATED = [
    "path",
    "size",
    "media_type",
    "digest",
    "source",
    "source_mtime_ns",
    "imported_at",
]


def _batches(found: Iterable[Found | Refused]) -> Iterator[list[Found | Refused]]:
    iterator = iter(found)
    while batch := list(islice(iterator, BATCH)):
        yield batch
