"""The progress of an import: its summary, and the reporter that shows it to the operator."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Literal, Protocol

Change = Literal["new", "changed", "unchanged"]
"""What a run did with a file: it had no row before, it was read again, or it was passed over."""


class Reporter(Protocol):
    """Shows the progress of an import."""

    def unpack(self, archive: str, size: int) -> None:
        """Begin with an archive that unpacks to ``size`` bytes, or more. Its files follow."""

    def begin(self, files: int, size: int) -> None:
        """Begin with this number of files, and of bytes as far as sizes are known."""

    def expect(self, size: int) -> None:
        """Expect ``size`` more bytes."""

    def advance(self, size: int) -> None:
        """Count ``size`` more bytes that were read."""

    def pass_over(self, size: int) -> None:
        """Count ``size`` more bytes that do not have to be read."""

    def done(self, path: str, change: Change) -> None:
        """Count one more file whose present content is stored."""

    def failed(self, path: str, reason: str) -> None:
        """Count one more file that could not be imported."""

    def skipped(self, path: str, reason: str) -> None:
        """Count one more name that is no file of the source."""

    def planned(self, action: str, path: str) -> None:
        """Report the action that a real run would take on one more file, in a rehearsal."""


@dataclass(slots=True)
class Summary:
    """The result of an import. Numbers without a description are of files."""

    imported: int = 0
    """Files that are new or changed, or whose content was no longer stored."""
    changed: int = 0
    """Those of them that had been imported before."""
    unchanged: int = 0
    failed: int = 0
    """Files that could not be imported."""
    skipped: int = 0
    """Names that are no files of the source, such as sockets, and links out of it."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of each failure."""
    skips: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of each name that was skipped."""
    forgotten: int = 0
    """Files of the index that are no longer in the source."""
    kept: int = 0
    """Files of the index that are no longer in the source, and whose content stays."""
    evicted: int = 0
    """Entries of the region that were removed to make room, and had not expired."""
    imported_size: int = 0
    """Bytes of the imported files."""
    size: int = 0
    """Bytes read: more if a transfer began again, and fewer if a former run has received a part."""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    """What the operator should know, a sentence each."""

    @property
    def files(self) -> int:
        return self.imported + self.unchanged + self.failed + self.skipped


class LockedReporter:
    """The reporter of a run for all of its threads: only one of them calls it at a time."""

    def __init__(self, summary: Summary, reporter: Reporter) -> None:
        self._summary = summary
        self._reporter = reporter
        self._lock = threading.Lock()
        self.over = False
        """Whether the run has ended."""

    def unpack(self, archive: str, size: int) -> None:
        self._reporter.unpack(archive, size)

    def begin(self, files: int, size: int) -> None:
        self._reporter.begin(files, size)

    def read(self, size: int, unexpected: int) -> None:
        """Report bytes that were read, and bytes that were not expected. Raises CancelledError
        after the end of the run."""
        if self.over:
            raise CancelledError
        if size or unexpected:
            with self._lock:
                if unexpected:
                    self._reporter.expect(unexpected)
                if size:
                    self._summary.size += size
                    self._reporter.advance(size)

    def done(self, path: str, change: Change, left: int) -> None:
        """Report one more file as done, with the ``left`` bytes of it that were not read."""
        with self._lock:
            self._reporter.pass_over(left)
            self._reporter.done(path, change)

    def failed(self, path: str, reason: str, left: int) -> None:
        with self._lock:
            self._reporter.failed(path, reason)
            self._reporter.pass_over(left)

    def skipped(self, path: str, reason: str) -> None:
        with self._lock:
            self._reporter.skipped(path, reason)

    def planned(self, action: str, path: str) -> None:
        with self._lock:
            self._reporter.planned(action, path)
