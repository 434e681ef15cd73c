"""An archive at a URL as a source: it is stored in the files region, and read there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tasks.files.content import opened_by, path_of, read_file
from tasks.importing.archives import ArchiveSource
from tasks.importing.room import RegionFullError
from tasks.sources.archives.formats import archive_in
from tasks.sources.archives.stored import StoredArchive
from tasks.sources.fetching.urls import name_in_archive
from tasks.sources.progress import Progress

if TYPE_CHECKING:
    from tasks.importing.sources import Fetching, SourceOptions
    from tasks.sources.open_source import Opener


def archive_at(
    url: str, size: int | None, version: str, opener: Opener, options: SourceOptions
) -> ArchiveSource:
    """Return the archive at a URL, whose present version is ``version``. It is sent only if it is
    not stored. Raises OSError, RegionFullError."""
    progress, fetching = Progress(size), options.fetching
    if fetching is not None and not read_file.peek_stale(url, size, version):
        fetching.fetch(url, size or 0)
        progress = Progress(size, partial(_report, fetching))
    with opened_by(opener, progress, is_checked=True):
        content = read_file(url, size, version)
    if not content.stored:
        raise RegionFullError(f"{url}: its disk may be full; the log line above gives the error")
    archive = archive_in(StoredArchive(content), url, options.limits)
    return ArchiveSource(
        path_of(url), archive, version, content.size, partial(name_in_archive, url), options.limits
    )


def _report(fetching: Fetching, read: int, unexpected: int) -> None:
    fetching.expect(unexpected)
    fetching.advance(read)
