"""URLs as sources: the URL of one file, or of a manifest that lists files beside it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tasks.files.content import path_digest, path_of
from tasks.importing.index import is_kept
from tasks.importing.manifests import (
    BadManifestError,
    entries_at,
    is_manifest_name,
    without_repeated,
)
from tasks.importing.sources import (
    MAX_JOBS,
    Skipped,
    SourceError,
    SourceFileInfo,
    SourceOptions,
    path_in,
)
from tasks.importing.url_archives import archive_at
from tasks.models import ImportedFile
from tasks.sources import versions
from tasks.sources.archives.formats import is_archive
from tasks.sources.fetching import client
from tasks.sources.fetching.downloads import Download
from tasks.sources.fetching.patience import patience
from tasks.sources.fetching.trying import until_done
from tasks.sources.fetching.urls import (
    BadUrlError,
    beside,
    checked,
    name_in,
    shown,
    without_secrets,
)
from tasks.sources.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.importing.manifests import ManifestEntry
    from tasks.importing.sources import Source
    from tasks.sources.fetching.answers import Answer

JOBS = 4
"""Downloads at the same time: a server needs more time to answer than a disk."""


def source_at_url(name: str, options: SourceOptions) -> Source:
    """Return the source at a URL. Raises SourceError."""
    try:
        url = without_secrets(checked(name))
        file = options.name or name_in(url)
        if options.as_file or options.name:
            return UrlSource(url, options.into, options.name or path_of(file))
        if is_manifest_name(file):
            return ManifestSource(url, entries_at(url, file))
        if is_archive(file):
            response = until_done(url, partial(client.describe, url, {}), Progress())
            # Many servers say 0 where they leave out the content.
            size, version = client.length_of(response) or None, versions.of_answer(response.headers)
            return archive_at(url, size, version, download, options)
        return UrlSource(url, options.into, path_of(file))
    except (BadUrlError, BadManifestError, OSError) as error:
        raise SourceError(f"{shown(name)!r} cannot be imported: {error}") from error


def download(
    url: str,
    size: int | None,
    version: str,
    progress: Progress,
    response: Answer | None = None,
) -> Download:
    """Open a URL for an import. ``response`` is an answer for it that is not read yet."""
    return Download(url, size, version, progress, tries=patience().retries, response=response)


class UrlSource:
    """The one file of a URL. It is requested once, and sent only if it has changed."""

    default_jobs = JOBS
    max_jobs = MAX_JOBS
    may_fork = False

    def __init__(self, url: str, into: str, path: str) -> None:
        """Request the file, for an import to this path in a folder of the site; if it is there
        already, only its changes. Raises OSError if the server does not send it."""
        self.root = path_of(url)
        self._response: Answer | None = None
        row = ImportedFile.objects.filter(path_digest=path_digest(path_in(into, path))).first()
        if row is not None and (row.source != self.root or not is_kept(row)):
            row = None
        conditions = {} if row is None else versions.conditions(row.version)
        response = until_done(url, partial(client.get, url, conditions), Progress())
        if row is not None and response.status == 304:
            client.discard(response)
            self._found = SourceFileInfo(
                path, url, row.size, row.version, download, is_checked=True
            )
            return
        self._response = response
        size = client.length_of(response)
        version = versions.of_answer(response.headers)
        self._found = SourceFileInfo(path, url, size, version, self._open)

    def covers(self, path: str) -> bool:
        return True

    def walk(self) -> Iterator[SourceFileInfo | Skipped]:
        """Yield the file."""
        yield self._found

    def close(self) -> None:
        if self._response is not None:
            self._response.close()

    def _open(self, url: str, size: int | None, version: str, progress: Progress) -> Download:
        # The response can be read once. A second call sends another request.
        response, self._response = self._response, None
        return download(url, size, version, progress, response)


class ManifestSource:
    """The files of a manifest. A file that is stored with the listed digest is not requested."""

    default_jobs = JOBS
    max_jobs = MAX_JOBS
    may_fork = True

    def __init__(self, url: str, entries: list[ManifestEntry]) -> None:
        self.root = path_of(url)
        self._url = url
        self._entries = entries

    def covers(self, path: str) -> bool:
        return True

    def walk(self) -> Iterator[SourceFileInfo | Skipped]:
        """Yield the files in the manifest's order."""
        for entry in without_repeated(self._entries):
            if isinstance(entry, Skipped):
                yield entry
                continue
            path = path_of(entry.name)
            try:
                url = beside(self._url, entry.name)
            except BadUrlError as error:
                yield Skipped(path, str(error))
                continue
            version = versions.of_digest(entry.digest, entry.kind)
            yield SourceFileInfo(path, url, None, version, download)

    def close(self) -> None:
        """Nothing is open."""
