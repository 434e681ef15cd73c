"""Stores the files of a source in the files region, and their rows in the index.

**The order keeps the index correct.** The content of many files is stored first, and synced to
disk. Their rows follow, in one transaction. A changed file is stored beside its former version. So
if the run stops in between, each row still has the content that it describes. The next run finds
the stored content and writes its row without reading the file again.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING

from django.utils import timezone

from beaker_regions import StoreUnavailableError
from beakercache import cache
from tasks.files.content import lifetime, path_digest, path_of
from tasks.files.folders import placing
from tasks.importing.archives import ArchiveSource
from tasks.importing.gone import GoneFiles
from tasks.importing.index import (
    IndexWriter,
    is_of_another_source,
    is_stored,
    number_from,
    patiently,
    rows_of,
    taken_by,
    whole_rows_of,
)
from tasks.importing.jobs import map_as_completed
from tasks.importing.listing import Listing
from tasks.importing.progress import Change, LockedReporter, Summary
from tasks.importing.reading import FileReader, FileToRead, Result, StoredFile
from tasks.importing.room import RegionFullError, Room
from tasks.importing.selection import Selection
from tasks.importing.sources import Skipped, Source, SourceError, SourceFileInfo, path_in
from tasks.importing.texts import counted
from tasks.importing.workers import map_in_processes
from tasks.models import ImportedFile
from tasks.sources.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from tasks.importing.index import KnownRow
from tasks.importing.progress import Reporter

_MANY = 1000
"""Files from which on it is worth to start other processes."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """The operator's options for a run. Without any, it imports new and changed files."""

    selection: Selection = field(default_factory=Selection)
    """The files that take part; all others are ignored."""
    force: bool = False
    """Read unchanged files again too."""
    prune: bool = False
    """Forget selected files that were imported from the source and are no longer in it."""
    max_forget: int | None = None
    """The most files that ``prune`` may forget. None: half of those of the source."""
    keep: bool = False
    """Keep the content of such files before it expires."""
    dry_run: bool = False
    """Report what the run would do, and change nothing."""
    into: str = ""
    """The folder of the site that the files go into, as a path of the index; "" for the top."""
    replace: bool = False
    """Take over names that files of other sources have."""
    jobs: int | None = None
    """The number of files that are read at the same time. None: the source's default."""


class Importer:
    """One run over one source. ``summary`` has the results so far, even if the run fails."""

    def __init__(
        self,
        source: Source,
        reporter: Reporter,
        options: ImportOptions | None = None,
        wrote: Callable[[Summary], None] = lambda _: None,
    ) -> None:
        """``wrote`` is called with the results so far after each file that was read."""
        self.summary = Summary()
        self._wrote = wrote
        self._source = source
        self._options = options or ImportOptions()
        self._jobs = self._options.jobs or source.default_jobs
        self._report = LockedReporter(self.summary, reporter)
        self._together = cache["files"].together()
        self._index = IndexWriter(self._sync, None if self._options.replace else self._taken)
        self._reader = FileReader(self._together, self._options.force)
        self._room = Room(self._together.count)
        self._listing = Listing()
        self._found = 0
        """Files in the source."""
        self._mine = source.root, self._options.into
        self._present = 0
        """Files of the source that had a row of it already."""
        self._gone = GoneFiles(source, self._options.into, self._options.selection)

    def run(self) -> Summary:
        """Import new and changed files. Raises SourceError if there are no files to import,
        RegionFullError if the region cannot store more."""
        started = time.monotonic()
        try:
            if self._jobs > self._source.max_jobs:
                raise SourceError(
                    f"{self._source.root!r} is read from start to end, by one job; leave out --jobs"
                )
            self._room.begin()
            self._unpack()
            self._count()
            before = patiently(partial(number_from, *self._mine))
            if not self._options.dry_run:
                self._gone.begin()
            with closing(self._results()) as results:
                for file, result in results:
                    self._finish(file, result)
                    self._room.check()
                    self._wrote(self.summary)
            self._room.check(now=True)
            if self._options.prune:
                self._prune()
            elif self._options.keep:
                self._keep()
            else:
                self._warn_of_gone(before - self._present)
        finally:
            self._report.over = True
            self._room.end()
            self.summary.evicted = self._room.evicted
            self._source.close()
            try:
                self._flush()
            finally:
                self.summary.seconds = time.monotonic() - started
        return self.summary

    def _flush(self) -> None:
        try:
            self._index.flush()
        finally:
            # Files whose rows could not be written are not imported.
            for row, change in self._index.unwritten:
                if change != "unchanged":
                    self._uncount(row, change)

    def _results(self) -> Generator[tuple[FileToRead, Result], None, None]:
        reader, files, jobs = self._reader, self._files_to_read(), self._jobs
        if self._found >= _MANY and self._source.may_fork and not reader.early:
            jobs = self._options.jobs or max(jobs, os.cpu_count() or 1)
            jobs = min(jobs, self._source.max_jobs)
            # With one job, the next file is read while this process writes rows.
            if (os.cpu_count() or 1) > 1:
                grown = self._together.take, self._together.grew
                return map_in_processes(jobs, reader, files, self._report.read, grown)
        return map_as_completed(jobs, reader, files)

    def _walk(self) -> Iterator[SourceFileInfo | Skipped]:
        for found in self._source.walk():
            if isinstance(found, Skipped) and found.hides_files:
                # Selected files may be in it.
                self._gone.could_not_read(found.path)
                if not self._options.selection.excludes(found.path):
                    yield self._placed(found)
            elif found.path in self._options.selection:
                yield self._placed(found)

    def _placed(self, found: SourceFileInfo | Skipped) -> SourceFileInfo | Skipped:
        """Return a file with its path on the site."""
        into = self._options.into
        if not into or not found.path:  # the source itself
            return found
        path = path_in(into, found.path)
        if isinstance(found, SourceFileInfo):
            return found._replace(path=path)
        return replace(found, path=path)

    def _unpack(self) -> None:
        """Store the files of an archive that is read once. They get their rows after its end."""
        source, options = self._source, self._options
        if (
            not (options.force or options.dry_run)
            and isinstance(source, ArchiveSource)
            and source.is_to_unpack()
        ):
            self._room.require(source.least if options.selection == Selection() else 0)
            self._report.unpack(source.root, source.least)
            source.unpack(self._store)

    def _store(self, found: SourceFileInfo) -> bool:
        """Store a file before its row is asked for; return whether it was read."""
        if found.path not in self._options.selection:
            return False
        placed = found._replace(path=path_in(self._options.into, found.path))
        progress = Progress(found.size, self._report.read)
        self._reader.early.pop(placed.path, None)
        result = self._reader(FileToRead(placed, progress))
        if isinstance(result, StoredFile):  # an error is found again, and said then
            self._reader.early[placed.path] = found.source, result
        self._room.check()
        return progress.left < (found.size or 0)

    def _count(self) -> None:
        files = size = refused = 0
        for found in self._walk():
            self._listing.add(found)
            if isinstance(found, SourceFileInfo):
                files += 1
                size += found.size or 0
            else:
                refused += 1
        if not files and not refused and not self._options.keep:
            included = " that are included" if self._options.selection != Selection() else ""
            raise SourceError(f"{self._source.root!r} holds no files{included}")
        self._found = files
        self._report.begin(files + refused, size)
        self._room.require(size)

    def _files_to_read(self) -> Iterator[FileToRead]:
        """Yield the files that have to be read. Count and report all others."""
        for batch in self._listing.batches():
            digests = [path_digest(found.path) for found in batch]
            if self._options.prune or self._options.keep:
                self._gone.saw(digests)
            known = patiently(partial(rows_of, digests))
            others = [row is not None and self._is_other(row) for row in map(known.get, digests)]
            whole = patiently(partial(whole_rows_of, list(compress(digests, others))))
            for found, digest in zip(batch, digests, strict=True):
                if isinstance(found, Skipped):
                    self._fail(found.path, found.reason, by_nature=found.by_nature)
                    continue
                row = known.get(digest)
                is_known = row is not None
                if row is not None:
                    self._present += not self._is_other(row)
                    if self._options.force or not _describes(row, found):
                        if self._is_taken(found, row):
                            self._fail(found.path, taken_by(row), found.size or 0)
                            continue
                        row = None
                if not self._options.dry_run:
                    progress = Progress(found.size, self._report.read)
                    stored = "" if row is None else row.digest
                    yield FileToRead(found, progress, stored, is_known, whole.get(digest))
                elif row is not None and is_stored(row):
                    self._count_done(found.path, "unchanged", found.size or 0)
                else:
                    self._report.planned("import", found.path)
                    change: Change = "changed" if is_known else "new"
                    self.summary.imported_size += found.size or 0
                    self._count_done(found.path, change, found.size or 0)

    def _sync(self) -> None:
        """Bring the content to disk whose rows are written next."""
        try:
            self._together.sync()
        except StoreUnavailableError as error:
            raise RegionFullError(str(error)) from error

    def _finish(self, file: FileToRead, result: Result) -> None:
        if isinstance(result, OSError):
            self._fail(file.found.path, result.strerror or str(result), file.progress.left)
            return
        change: Change = "unchanged"
        row = file.row
        if isinstance(result, StoredFile):
            row = self._row(file.found, result)
            if not result.renewed:
                change = "changed" if file.is_known else "new"
                self.summary.imported_size += result.size
        elif row is not None:
            row.root, row.into = self._mine
        # Count it first: if rows cannot be written, those that are not are taken off.
        self._count_done(file.found.path, change, file.progress.left)
        if row is not None:
            self._index.add(row, change)

    def _count_done(self, path: str, change: Change, left: int) -> None:
        self.summary.unchanged += change == "unchanged"
        self.summary.imported += change != "unchanged"
        self.summary.changed += change == "changed"
        self._report.done(path, change, left)

    def _uncount(self, row: ImportedFile, change: Change) -> None:
        """Take a file off whose row was not written."""
        self.summary.changed -= change == "changed"
        if change == "unchanged":
            self.summary.unchanged -= 1
        else:
            self.summary.imported -= 1
            self.summary.imported_size -= row.size

    def _row(self, found: SourceFileInfo, stored: StoredFile) -> ImportedFile:
        return ImportedFile(
            path_digest=path_digest(found.path),
            path=found.path,
            size=stored.size,
            media_type=stored.media_type,
            digest=stored.digest,
            source=path_of(found.source),
            version=found.version,
            root=self._source.root,
            into=self._options.into,
            imported_at=timezone.now(),
            **placing(found.path),
        )

    def _is_other(self, row: KnownRow) -> bool:
        """Whether a row is of another source, or of another folder of the site."""
        return (row.root, row.into) != self._mine

    def _is_taken(self, found: SourceFileInfo, row: KnownRow) -> bool:
        """Whether the row of this path is another source's, and has to be left alone."""
        return not self._options.replace and is_of_another_source(
            row, self._mine, path_of(found.source)
        )

    def _taken(self, row: ImportedFile, change: Change, other: KnownRow) -> None:
        """Another run has added a row of this path since this one asked."""
        self._uncount(row, change)
        self._fail(row.path, taken_by(other))

    def _prune(self) -> None:
        most = self._options.max_forget
        if not self._options.dry_run:
            self.summary.forgotten = self._gone.forget(most)
            return
        gone = self._gone.allowed(most)
        for path in self._gone.paths(gone):
            self._report.planned("forget", path)
        self.summary.forgotten = len(gone)

    def _warn_of_gone(self, files: int) -> None:
        # A single file of a folder, or patterns, leave out files that are there.
        whole = self._options.selection == Selection() and self._source.covers("")
        seconds = lifetime()
        if files > 0 and whole and seconds is not None and not self._gone.may_hide:
            are = "is" if files == 1 else "are"
            self.summary.notes.append(
                f"{counted(files, 'imported file')} {are} no longer in the source; the content "
                f"goes {seconds / 86400:.0f} days after it was stored: --keep keeps it, "
                "--prune forgets the files"
            )

    def _keep(self) -> None:
        """Store the content of files that are gone for another period, if it has expired."""
        if self._options.dry_run:
            for path in self._gone.paths():
                self._report.planned("keep", path)
                self.summary.kept += 1
            return
        for path, is_kept in self._gone.kept():
            if is_kept:
                self.summary.kept += 1
            else:
                self._fail(path, "is no longer in the source, and its content is lost")

    def _fail(self, path: str, reason: str, left: int = 0, *, by_nature: bool = False) -> None:
        path = path or self._source.root
        if by_nature:
            self.summary.skipped += 1
            self.summary.skips.append((path, reason))
            self._report.skipped(path, reason)
        else:
            self.summary.failed += 1
            self.summary.failures.append((path, reason))
            self._report.failed(path, reason, left)


def _describes(row: KnownRow, found: SourceFileInfo) -> bool:
    """Whether a row describes a file's present version."""
    return (
        row.version == found.version
        and found.size in (None, row.size)
        and row.source == path_of(found.source)
    )
