"""Putting the files of a source into the files region, and their rows into the index.

**The order keeps the index true.** Content is stored first, and durably; its row follows with
others in one transaction. A changed file is stored beside its former version, so whatever stops
the run in between leaves each row with the content that it describes; the next run finds what is
stored already and writes its row without reading it again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from django.utils import timezone

from tasks.files import path_digest, path_of, read_file
from tasks.importing.index import BATCH, IndexWriter, forget, rows_below, rows_of, version_of
from tasks.importing.media_types import media_type
from tasks.importing.selection import Selection
from tasks.importing.sources import Found, Refused, Source, SourceError
from tasks.models import ImportedFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from regions import CachedFile


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

    def planned(self, what: str, path: str) -> None:
        """Were the run not a rehearsal, this would be done with one more file."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What an operator wants of a run, beyond the files that are new or changed."""

    selection: Selection = field(default_factory=Selection)
    """Of all files, those that are meant; all others are as if they were not there."""
    force: bool = False
    """Read again what has not changed."""
    prune: bool = False
    """Forget what was imported from the source, is meant, and is not there any more."""
    dry_run: bool = False
    """Say what would be done, and do nothing."""


@dataclass(slots=True)
class Summary:
    """What became of the files of a source, in numbers of files."""

    imported: int = 0
    """New, or changed, or not stored any more."""
    unchanged: int = 0
    failed: int = 0
    forgotten: int = 0
    """Of the index, that the source does not have any more."""
    size: int = 0
    """Bytes that were read."""
    seconds: float = 0.0

    @property
    def files(self) -> int:
        return self.imported + self.unchanged + self.failed


class Importer:
    """One run over one source. ``summary`` holds what was done so far, however the run ends."""

    def __init__(self, source: Source, reporter: Reporter, orders: Orders | None = None) -> None:
        self.summary = Summary()
        self._source = source
        self._reporter = reporter
        self._orders = orders or Orders()
        self._index = IndexWriter()
        self._seen: set[str] = set()
        self._hidden: set[str] = set()
        """How the paths of files begin of which nobody knows whether they are there."""

    def run(self) -> Summary:
        """Import what is new or changed. Raises SourceError when there is nothing that could be
        imported, NotStored when the region cannot take more."""
        started = time.monotonic()
        try:
            self._count()
            for batch in _batches(self._walk()):
                known = rows_of(found for found in batch if isinstance(found, Found))
                for found in batch:
                    if self._orders.prune:
                        self._seen.add(path_digest(found.path))
                    if isinstance(found, Refused):
                        self._fail(found.path, found.reason)
                    else:
                        self._take(found, known.get(path_digest(found.path)))
            if self._orders.prune:
                self._prune()
        finally:
            self._source.close()
            self._index.flush()
            self.summary.seconds = time.monotonic() - started
        return self.summary

    def _walk(self) -> Iterator[Found | Refused]:
        for found in self._source.walk():
            if isinstance(found, Refused) and found.whole:
                # What is meant may be in it.
                self._hidden.add(f"{found.path}/" if found.path else "")
                if not self._orders.selection.excludes(found.path):
                    yield found
            elif found.path in self._orders.selection:
                yield found

    def _count(self) -> None:
        files = size = refused = 0
        for found in self._walk():
            if isinstance(found, Found):
                files += 1
                size += found.size
            else:
                refused += 1
        if not files and not refused:
            meant = "" if self._orders.selection == Selection() else " that are included"
            raise SourceError(f"{self._source.prefix!r} holds no files{meant}")
        self._reporter.begin(files + refused, size)

    def _take(self, found: Found, row: ImportedFile | None) -> None:
        if not self._orders.force and row is not None and self._is_kept(found, row):
            self.summary.unchanged += 1
            self._reporter.advance(found.size)
            self._reporter.done()
            return
        if self._orders.dry_run:
            self.summary.imported += 1
            self._reporter.planned("import", found.path)
            self._reporter.advance(found.size)
            self._reporter.done()
            return
        before = self.summary.size
        read = read_file.refresh if self._orders.force else read_file
        try:
            content = read(found.source, found.size, found.mtime_ns, self._advance, found.opener)
        except OSError as error:
            self._fail(found.path, error.strerror or str(error))
        else:
            if not content.stored:
                raise NotStored("its disk may be full; the log line above says what it met")
            self._index.add(_row(found, content))
            # Thousands of open files are not what the rows are kept for.
            content.close()
            self.summary.imported += 1
            self._reporter.done()
        # What was announced of a file and never came, or was there already, is done with too.
        self._reporter.advance(max(0, found.size - (self.summary.size - before)))

    def _is_kept(self, found: Found, row: ImportedFile) -> bool:
        """Whether the row describes a file as the source has it, and its content is stored."""
        version = version_of(row)
        if version != (found.source, found.size, found.mtime_ns):
            return False
        stored = read_file.peek(*version)
        return stored is not None and stored.digest == row.digest

    def _prune(self) -> None:
        hidden = tuple(self._hidden)
        gone = [
            row
            for row in rows_below(self._source.prefix)
            if row.path_digest not in self._seen
            and row.path in self._orders.selection
            and self._source.covers(row.path)
            and not row.path.startswith(hidden)
        ]
        if self._orders.dry_run:
            for row in gone:
                self._reporter.planned("forget", row.path)
        else:
            forget(gone)
        self.summary.forgotten = len(gone)

    def _advance(self, size: int) -> None:
        self.summary.size += size
        self._reporter.advance(size)

    def _fail(self, path: str, reason: str) -> None:
        self.summary.failed += 1
        self._reporter.failed(path or self._source.prefix.rstrip("/"), reason)


def _row(found: Found, content: CachedFile) -> ImportedFile:
    return ImportedFile(
        path_digest=path_digest(found.path),
        path=found.path,
        size=found.size,
        media_type=media_type(found.path, content),
        digest=content.digest,
        source=path_of(found.source),
        source_mtime_ns=found.mtime_ns,
        imported_at=timezone.now(),
    )


def _batches(found: Iterable[Found | Refused]) -> Iterator[list[Found | Refused]]:
    iterator = iter(found)
    while batch := list(islice(iterator, BATCH)):
        yield batch
