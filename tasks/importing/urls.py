"""URLs as sources: of one file, or of a manifest whose files lie beside it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tasks.files.content import path_digest, path_of
from tasks.importing.index import is_stored
from tasks.importing.manifests import BadManifestError, is_manifest_name, lines_at
from tasks.importing.sources import MOST_JOBS, Skipped, SourceError, SourceFileInfo
from tasks.models import ImportedFile
from tasks.sources.fetching import client, versions
from tasks.sources.fetching.downloads import TRIES, Download
from tasks.sources.fetching.trying import until_done
from tasks.sources.fetching.urls import BadUrlError, beside, checked, name_in, shown
from tasks.sources.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from urllib3 import BaseHTTPResponse

    from tasks.importing.manifests import ManifestEntry
    from tasks.importing.sources import Source

_JOBS = 4
"""Downloads at once: servers are far more often waited for than disks."""


def source_at_url(name: str) -> Source:
    """Return the source at a URL. Raises SourceError."""
    try:
        url = checked(name)
        file = name_in(url)
        lines = lines_at(url) if is_manifest_name(file) else None
    except (BadUrlError, BadManifestError, OSError) as error:
        raise SourceError(f"{shown(name)!r} cannot be imported: {error}") from error
    return UrlSource(url) if lines is None else ManifestSource(url, lines)


def _download(
    response: BaseHTTPResponse | None,
    url: str,
    size: int | None,
    version: str,
    progress: Progress,
) -> Download:
    return Download(url, size, version, progress, tries=TRIES, response=response)


class UrlSource:
    """The one file of a URL: asked for once, and not sent when it is as it was imported."""

    usual_jobs = _JOBS
    most_jobs = MOST_JOBS

    def __init__(self, url: str) -> None:
        """Raises SourceError when the server does not have it."""
        self.root = path_of(url)
        self._response: BaseHTTPResponse | None = None
        path = path_of(name_in(url))
        row = ImportedFile.objects.filter(path_digest=path_digest(path)).first()
        if row is not None and (row.source != self.root or not is_stored(row)):
            row = None
        conditions = {} if row is None else versions.conditions(row.version)
        try:
            response = until_done(partial(client.get, url, conditions), TRIES, Progress())
        except OSError as error:
            raise SourceError(f"{self.root!r} cannot be imported: {error}") from error
        if row is not None and response.status == 304:
            client.discard(response)
            self._found = SourceFileInfo(path, url, row.size, row.version, partial(_download, None))
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
        # It can be read once; who asks again asks the server.
        response, self._response = self._response, None
        return _download(response, url, size, version, progress)


class ManifestSource:
    """The files of a manifest. Nothing is asked for what is stored with the digest it has."""

    usual_jobs = _JOBS
    most_jobs = MOST_JOBS

    def __init__(self, url: str, lines: list[ManifestEntry]) -> None:
        self.root = path_of(url)
        self._url = url
        self._lines = lines

    def covers(self, path: str) -> bool:
        return True

    def walk(self) -> Iterator[SourceFileInfo | Skipped]:
        """Yield the files in the manifest's order; of what it has twice, the first."""
        named = set()
        for line in self._lines:
            path = path_of(line.name)
            if line.refusal:
                yield Skipped(path, line.refusal)
                continue
            if path in named:
                yield Skipped(path, "is in the manifest more than once; the first is taken")
                continue
            named.add(path)
            try:
                url = beside(self._url, line.name)
            except BadUrlError as error:
                yield Skipped(path, str(error))
                continue
            version = versions.of_digest(line.digest)
            yield SourceFileInfo(path, url, None, version, partial(_download, None))

    def close(self) -> None:
        """Nothing is open."""
