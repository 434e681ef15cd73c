"""Putting the files of a source into the files region, and their rows into the index.

**The order keeps the index true.** Content is stored first, and durably; its row follows with
others in one transaction. A changed file is stored beside its former version, so whatever stops
the run in between leaves each row with the content that it describes; the next run finds what is
stored already and writes its row without reading it again.
"""

from __future__ import annotations

import errno
import time
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from django.utils import timezone

from tasks.files.content import opened_by, path_digest, path_of, read_file
from tasks.files.folders import placing
from tasks.importing.index import (
    BATCH,
    IndexWriter,
    forget,
    is_stored,
    rows_from,
    rows_of,
    version_of,
)
from tasks.importing.jobs import done_by
from tasks.importing.media_types import media_type
from tasks.importing.progress import LockedReporter, Summary
from tasks.importing.selection import Selection
from tasks.importing.sources import Skipped, Source, SourceError, SourceFileInfo
from tasks.models import ImportedFile
from tasks.sources.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from beaker_regions import CachedFile
    from tasks.importing.progress import Reporter

_Wanted = tuple[SourceFileInfo, Progress]
"""A file that has to be read, and the progress of that."""


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""What the system says of a disk that takes no more; nobody says it of a file that is read."""


class NotStoredError(Exception):
    """The files region cannot take content: a full disk, most likely. The run is over."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What an operator wants of a run, beyond the files that are new or changed."""

    selection: Selection = field(default_factory=Selection)
    """Of all files, those that are meant; all others are as if they were not there."""
    force: bool = False
    """Read again what has not changed."""
    prune: bool = False
    """Forget what was imported from the source, is meant, and is not there any more."""
    dry_run: bool = False
    """Say what would be done, and do nothing."""
    jobs: int | None = None
    """How many files are read at once; None: as many as is usual for the source."""


class Importer:
    """One run over one source. ``summary`` holds what was done so far, however the run ends."""

    def __init__(
        self, source: Source, reporter: Reporter, options: ImportOptions | None = None
    ) -> None:
        self.summary = Summary()
        self._source = source
        self._options = options or ImportOptions()
        self._jobs = self._options.jobs or source.usual_jobs
        self._report = LockedReporter(self.summary, reporter)
        self._index = IndexWriter()
        self._seen: set[str] = set()
        self._hidden: set[str] = set()
        """Prefixes of paths in folders that could not be read: their files may still exist."""

    def run(self) -> Summary:
        """Import what is new or changed. Raises SourceError when there is nothing that could be
        imported, NotStoredError when the region cannot take more."""
        started = time.monotonic()
        try:
            if self._jobs > self._source.most_jobs:
                raise SourceError(
                    f"{self._source.root!r} is read from its start to its end, by one job"
                )
            self._count()
            with closing(done_by(self._jobs, self._read, self._wanted())) as results:
                for wanted, result in results:
                    self._finish(wanted, result)
            if self._options.prune:
                self._prune()
        finally:
            self._report.over = True
            self._source.close()
            self._index.flush()
            self.summary.seconds = time.monotonic() - started
        return self.summary

    def _walk(self) -> Iterator[SourceFileInfo | Skipped]:
        for found in self._source.walk():
            if isinstance(found, Skipped) and found.whole:
                # What is meant may be in it.
                self._hidden.add(f"{found.path}/" if found.path else "")
                if not self._options.selection.excludes(found.path):
                    yield found
            elif found.path in self._options.selection:
                yield found

    def _count(self) -> None:
        files = size = refused = 0
        for found in self._walk():
            if isinstance(found, SourceFileInfo):
                files += 1
                size += found.size or 0
            else:
                refused += 1
        if not files and not refused:
            meant = "" if self._options.selection == Selection() else " that are included"
            raise SourceError(f"{self._source.root!r} holds no files{meant}")
        self._report.begin(files + refused, size)

    def _wanted(self) -> Iterator[_Wanted]:
        """Yield the files that have to be read, and deal with all others."""
        for batch in _batches(self._walk()):
            known = rows_of(found for found in batch if isinstance(found, SourceFileInfo))
            for found in batch:
                if self._options.prune:
                    self._seen.add(path_digest(found.path))
                if isinstance(found, Skipped):
                    self._fail(found.path, found.reason)
                    continue
                row = known.get(path_digest(found.path))
                if not self._options.force and row is not None and self._is_kept(found, row):
                    self.summary.unchanged += 1
                    self._report.done(found.size or 0)
                elif self._options.dry_run:
                    self.summary.imported += 1
                    self._report.planned("import", found.path)
                    self._report.done(found.size or 0)
                else:
                    yield found, Progress(found.size, self._report.read)

    def _read(self, wanted: _Wanted) -> CachedFile | OSError:
        """Bring a file into the region, in any thread: nothing here asks the database."""
        found, progress = wanted
        read = read_file.refresh if self._options.force else read_file
        asked = time.time()
        try:
            with opened_by(found.opener, progress):
                content = read(found.source, found.size, found.version)
        except OSError as error:
            if error.errno in _FULL:
                raise NotStoredError(error.strerror) from error
            return error
        if content.stored_at < asked and not read_file.peek(
            found.source, found.size, found.version
        ):
            content.close()
            return OSError("could not be read again; what was stored is served for a while yet")
        return content

    def _finish(self, wanted: _Wanted, result: CachedFile | OSError) -> None:
        found, progress = wanted
        if isinstance(result, OSError):
            self._fail(found.path, result.strerror or str(result), progress.left)
            return
        if not result.stored:
            raise NotStoredError("its disk may be full; the log line above says what it met")
        self._index.add(_row(self._source.root, found, result))
        # Thousands of open files are not what the rows are kept for.
        result.close()
        self.summary.imported += 1
        self._report.done(progress.left)

    def _is_kept(self, found: SourceFileInfo, row: ImportedFile) -> bool:
        """Whether the row describes a file as the source has it, and its content is stored."""
        name, size, version = version_of(row)
        if (name, version) != (found.source, found.version) or found.size not in (None, size):
            return False
        if not is_stored(row):
            return False
        if row.root != self._source.root and not self._options.dry_run:
            # It came with another source, of which it is not the file any more.
            row.root = self._source.root
            self._index.add(row)
        return True

    def _prune(self) -> None:
        hidden = tuple(self._hidden)
        gone = [
            row
            for row in rows_from(self._source.root)
            if row.path_digest not in self._seen
            and row.path in self._options.selection
            and self._source.covers(row.path)
            and not row.path.startswith(hidden)
        ]
        if self._options.dry_run:
            for row in gone:
                self._report.planned("forget", row.path)
        else:
            forget(gone)
        self.summary.forgotten = len(gone)

    def _fail(self, path: str, reason: str, left: int = 0) -> None:
        self.summary.failed += 1
        self._report.failed(path or self._source.root, reason, left)


def _row(root: str, found: SourceFileInfo, content: CachedFile) -> ImportedFile:
    return ImportedFile(
        path_digest=path_digest(found.path),
        path=found.path,
        size=content.size,
        media_type=media_type(found.path, content),
        digest=content.digest,
        source=path_of(found.source),
        version=found.version,
        root=root,
        imported_at=timezone.now(),
        **placing(found.path),
    )


def _batches(found: Iterable[SourceFileInfo | Skipped]) -> Iterator[list[SourceFileInfo | Skipped]]:
    iterator = iter(found)
    while batch := list(islice(iterator, BATCH)):
        yield batch
