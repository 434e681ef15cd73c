"""Reads one file of a source into the files region."""

from __future__ import annotations

import contextlib
import errno
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from tasks.files.content import opened_by, read_file
from tasks.importing.ahead import Ahead
from tasks.importing.media_types import media_type
from tasks.importing.room import RegionFullError
from tasks.sources.fetching.urls import archive_and_path, has_scheme

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from beaker_regions import CachedFile, Together
    from tasks.importing.sources import SourceFileInfo
    from tasks.models import ImportedFile
    from tasks.sources.fetching.downloads import Download
    from tasks.sources.open_source import Opener
    from tasks.sources.progress import Progress

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""The system's errors for a disk that takes no more. Reading a file never raises them."""


_SMALL = 64 * 1024
"""The most bytes of a download that is received before it is stored."""
_PAUSE = 0.5
"""Seconds before a file that was read, and not stored, is read once more."""


class StoredFile(NamedTuple):
    """A file that is in the region."""

    size: int
    """Bytes."""
    digest: str
    """SHA-256, in hexadecimal."""
    media_type: str
    renewed: bool
    """Whether nothing was read: expired content is still valid, or another process has just stored
    it for another period."""


UNCHANGED: Final = "unchanged"
"""The result for a file that is stored with the digest that the index has."""
Result = StoredFile | Literal["unchanged"] | OSError


class FileToRead(NamedTuple):
    """A file that is read, unless it is stored."""

    found: SourceFileInfo
    progress: Progress
    """Of reading it."""
    digest: str = ""
    """The digest of its row in the index, if that describes its present version."""
    is_known: bool = False
    """Whether it has a row, of any version."""
    row: ImportedFile | None = None
    """This row, if it becomes one of this source when the file is unchanged."""
    ahead: Ahead | None = None
    """Has the downloads of this file and those behind it; None: there are none behind it."""


def are_stored(files: Sequence[FileToRead]) -> list[bool]:
    """Return for each file whether it is stored with the digest that the index has."""
    known = [file.found for file in files if file.digest]
    stored = iter(
        read_file.stored_digests((found.source, found.size, found.version) for found in known)
    )
    return [bool(file.digest) and file.digest == next(stored) for file in files]


@dataclass(frozen=True, slots=True)
class FileReader:
    """Stores files in the region. Any thread or process may use it: it needs no database."""

    together: Together
    """Syncs the files later."""
    force: bool
    """Read stored files again, too."""
    early: dict[str, tuple[str, StoredFile]] = field(default_factory=dict)
    """The sources and results of files that were stored while their archive was listed, by their
    paths."""

    def __call__(self, file: FileToRead) -> Result:
        """Store a file; return the error if it cannot be read. Raises RegionFullError."""
        found, progress = file.found, file.progress
        source, stored = self.early.get(found.path, ("", None))
        # Another source: there is a link by now that has the name of the file.
        if stored is not None and source == found.source and stored.digest != file.digest:
            return stored
        if file.digest and file.digest == read_file.stored_digest(
            found.source, found.size, found.version
        ):
            return UNCHANGED
        started_at = time.time()
        try:
            content = self._read(file)
        except OSError as error:
            if error.errno in _CANNOT_WRITE:
                raise RegionFullError(f"{found.path}: {error.strerror}") from error
            return error
        try:
            if content.stored_at < started_at and not read_file.peek(
                found.source, found.size, found.version
            ):
                return OSError(
                    "could not be read again; the stored content is still served for a while"
                )
            if not content.stored:
                raise RegionFullError(
                    f"{found.path}: its disk may be full; the log line above gives the error"
                )
            kind = media_type(found.path, content)
            renewed = content.digest == file.digest and not progress.begun
            return StoredFile(content.size, content.digest, kind, renewed)
        finally:
            # A result may wait for others. Its file must not stay open for as long.
            content.close()

    def _read(self, file: FileToRead) -> CachedFile:
        found, opener, is_new = file.found, file.found.opener, not file.digest
        ahead = file.ahead or Ahead()
        # Not refresh(), which invalidates, and so may reach other files of a large region.
        read = read_file.reload if self.force else _function(found)
        with contextlib.ExitStack() as stack:
            if is_new and (download := ahead.take(found, file.progress)) is not None:
                stack.enter_context(contextlib.closing(download))
                if download.arrives(_SMALL):
                    ahead.begin_next()
                    read = read_file.reload if self.force else read_file.fill
                opener = _handing_out(download)
            stack.enter_context(
                opened_by(opener, file.progress, is_new=is_new, is_checked=found.is_checked)
            )
            stack.enter_context(self.together.joined())
            content = read(found.source, found.size, found.version)
            if content.stored:
                return content
            # What is loaded while another process invalidates a tag is not stored.
            content.close()
            time.sleep(_PAUSE)
            return read(found.source, found.size, found.version)


def _handing_out(download: Download) -> Opener:
    return lambda *_: download


def _function(found: SourceFileInfo) -> Callable[[str, int | None, str], CachedFile]:
    # A download is worth waiting for that of another run, unless it is small.
    is_download = has_scheme(found.source) and archive_and_path(found.source) is None
    return read_file if is_download else read_file.fill
