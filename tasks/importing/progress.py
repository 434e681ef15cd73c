"""How an import gets on: what is counted, and who is told. Files are read in many threads, and
whoever is told is told by one at a time."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tasks.sources.source_file import ProgressCallback

if TYPE_CHECKING:
    from tasks.importing.sources import SourceFileInfo


class Reporter(Protocol):
    """Who is told how an import goes on."""

    def begin(self, files: int, size: int) -> None:
        """So many files of so many bytes, as far as that is known, are there to look at."""

    def expect(self, size: int) -> None:
        """There are so many more bytes to look at."""

    def advance(self, size: int) -> None:
        """So many more bytes were read, or need not be."""

    def done(self) -> None:
        """One more file is stored as the source has it."""

    def failed(self, path: str, reason: str) -> None:
        """One more file could not be imported."""

    def planned(self, what: str, path: str) -> None:
        """Were the run not a rehearsal, this would be done with one more file."""


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


class CancelledError(Exception):
    """The run has ended: nobody waits for the file any more."""


class Progress:
    """A reporter, and the number of bytes read, for all threads of a run."""

    def __init__(self, summary: Summary, reporter: Reporter) -> None:
        self._summary = summary
        self._reporter = reporter
        self._lock = threading.Lock()
        self.over = False
        """Whether the run has ended."""

    def begin(self, files: int, size: int) -> None:
        self._reporter.begin(files, size)

    def read(self, size: int, unexpected: int) -> None:
        """So many bytes were read, of which some were not announced."""
        if self.over:
            raise CancelledError
        if size:
            with self._lock:
                if unexpected:
                    self._reporter.expect(unexpected)
                self._summary.size += size
                self._reporter.advance(size)

    def expect(self, size: int) -> None:
        with self._lock:
            self._reporter.expect(size)

    def done(self, left: int) -> None:
        """A file is done with, and with it the bytes of it that nobody has read."""
        with self._lock:
            self._reporter.advance(left)
            self._reporter.done()

    def failed(self, path: str, reason: str, left: int) -> None:
        with self._lock:
            self._reporter.failed(path, reason)
            self._reporter.advance(left)

    def planned(self, what: str, path: str) -> None:
        with self._lock:
            self._reporter.planned(what, path)


class FileProgress(ProgressCallback):
    """A file that is read, and how far that is."""

    def __init__(self, found: SourceFileInfo, told: Progress) -> None:
        self.found = found
        self._told = told
        self._announced = found.size or 0
        self._read = 0

    def __call__(self, size: int) -> None:
        self._read += size
        unexpected = max(0, self._read - self._announced)
        self._announced += unexpected
        self._told.read(size, unexpected)

    def expect(self, size: int) -> None:
        if size > self._announced:
            self._told.expect(size - self._announced)
            self._announced = size

    @property
    def left(self) -> int:
        """Bytes that were announced and not read."""
        return self._announced - self._read
