"""Storage that fsspec knows as a source: a folder or a bucket, a file, a manifest, an archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.files.content import path_of
from tasks.importing.manifests import (
    LARGEST,
    BadManifestError,
    is_manifest_name,
    parse,
    without_repeated,
)
from tasks.importing.sources import (
    MAX_JOBS,
    Skipped,
    SourceError,
    SourceFileInfo,
    SourceOptions,
    is_site_path,
)
from tasks.importing.url_archives import archive_at
from tasks.sources import versions
from tasks.sources.archives.formats import is_archive
from tasks.sources.fetching.errors import FetchError
from tasks.sources.fetching.patience import patience
from tasks.sources.fetching.urls import BadUrlError, shown
from tasks.sources.remote import (
    RemoteFile,
    checked_remote,
    info_of,
    listed,
    open_storage,
    text_at,
    version_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.importing.manifests import ManifestEntry
    from tasks.importing.sources import Source
    from tasks.sources.progress import Progress


def _open(url: str, size: int | None, version: str, progress: Progress) -> RemoteFile:
    return RemoteFile(url, size, version, progress, tries=patience().retries)


def remote_source(name: str, options: SourceOptions) -> Source:
    """Return the source at a URL for fsspec. Raises SourceError."""
    try:
        url = checked_remote(name)
        info = info_of(url)
        if info["type"] == "directory":
            if options.name:
                raise SourceError("--name is for the one file at a URL")
            return RemoteFolder(url, options.leaves_out)
        file = options.name or path_of(url.rpartition("/")[2])
        if not (options.as_file or options.name):
            if is_manifest_name(file):
                if info["size"] > LARGEST:
                    raise BadManifestError(f"is longer than {LARGEST} bytes")
                return RemoteManifest(url, parse(text_at(url), file))
            if is_archive(file):
                return archive_at(url, info["size"], version_of(info), _open, options)
        return RemoteSingle(url, _found(file, url, info["size"], version_of(info)))
    except (BadUrlError, BadManifestError, OSError) as error:
        raise SourceError(f"{shown(name)!r} cannot be imported: {error}") from error


def remote_file(path: str, url: str) -> SourceFileInfo:
    """Return the file at a URL, to be imported to this path. Raises OSError."""
    info = info_of(url)
    if info["type"] != "file":
        raise FetchError(f"is a {info['type']}, not a file")
    return _found(path, url, info["size"], version_of(info))


class _RemoteSource:
    default_jobs = 4
    max_jobs = MAX_JOBS
    may_fork = False  # fsspec has threads of its own

    def __init__(self, url: str) -> None:
        self._url = url
        self.root = path_of(url)

    def covers(self, path: str) -> bool:
        return True

    def close(self) -> None:
        """Nothing is open."""


class RemoteSingle(_RemoteSource):
    """One file of a storage."""

    def __init__(self, url: str, found: SourceFileInfo) -> None:
        super().__init__(url)
        self._found = found

    def walk(self) -> Iterator[SourceFileInfo | Skipped]:
        """Yield the file."""
        yield self._found


class RemoteManifest(_RemoteSource):
    """The files of a manifest, which lie beside it."""

    def __init__(self, url: str, entries: list[ManifestEntry]) -> None:
        super().__init__(url)
        self._entries = entries

    def walk(self) -> Iterator[SourceFileInfo | Skipped]:
        """Yield the files in the manifest's order."""
        folder = self._url.rpartition("/")[0]
        for entry in without_repeated(self._entries):
            if isinstance(entry, Skipped):
                yield entry
                continue
            version = versions.of_digest(entry.digest, entry.kind)
            yield _found(path_of(entry.name), f"{folder}/{entry.name}", None, version)


class RemoteFolder(_RemoteSource):
    """The files of a folder or a bucket, and of all folders in it."""

    def __init__(self, url: str, leaves_out: Callable[[str], bool] | None) -> None:
        super().__init__(url)
        self._leaves_out = leaves_out

    def walk(self) -> Iterator[SourceFileInfo | Skipped]:
        """Yield the files, sorted by name within each folder."""
        try:
            fs, top = open_storage(self._url)
            top = top.rstrip("/")
            folders = [(top, iter(listed(self._url, top)))]
        except OSError as error:
            raise SourceError(f"{self.root!r} cannot be read: {error}") from error
        while folders:
            folder, entries = folders[-1]
            info = next(entries, None)
            if info is None:
                folders.pop()
                continue
            name: str = info["name"].rstrip("/")
            inside = name[len(top) + 1 :]
            path = path_of(inside)
            url = f"{self._url}/{inside}"
            if name == folder and info["type"] == "file" and not info["size"]:
                continue  # a mark that some tools leave for an empty folder
            if name == folder or not is_site_path(inside):
                # The name of an object may have two slashes, or end with one.
                yield Skipped(path, "has a name that no file can have")
            elif info["type"] == "directory":
                if self._leaves_out is not None and self._leaves_out(path):
                    continue
                try:
                    folders.append((name, iter(listed(self._url, name))))
                except OSError as error:
                    yield Skipped(path, str(error), hides_files=True)
            elif info["type"] != "file":
                yield Skipped(path, f"is a {info['type']}, not a file", by_nature=True)
            elif fs._strip_protocol(url) != name:
                yield Skipped(path, "has a name that a URL cannot have")
            else:
                yield _found(path, url, info["size"], version_of(info))


def _found(path: str, url: str, size: int | None, version: str) -> SourceFileInfo:
    return SourceFileInfo(path, url, size, version, _open, is_checked=True)
