"""A manifest on disk as a source: the files that it lists, verified against it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from tasks.files.content import path_of
from tasks.importing.folders import is_within
from tasks.importing.manifests import BadManifestError, entries_in, without_repeated
from tasks.importing.sources import MAX_JOBS, Skipped, SourceError, SourceFileInfo
from tasks.sources import versions
from tasks.sources.source_file import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.importing.manifests import ManifestEntry


class LocalManifestSource:
    """The files of a manifest, which lie beside it. A file that is stored with the listed digest is
    not read."""

    default_jobs = 1
    max_jobs = MAX_JOBS
    may_fork = True

    def __init__(self, name: str) -> None:
        """Read the manifest ``name`` (absolute, without links). Raises SourceError."""
        self.root = path_of(name)
        self._folder = os.path.dirname(name)
        try:
            self._entries = entries_in(name)
        except (BadManifestError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SourceError(f"{self.root!r} cannot be imported: {reason}") from error

    def covers(self, path: str) -> bool:
        return True

    def walk(self) -> Iterator[SourceFileInfo | Skipped]:
        """Yield the files in the manifest's order."""
        for entry in without_repeated(self._entries):
            yield entry if isinstance(entry, Skipped) else self._found(entry)

    def close(self) -> None:
        """Nothing is open."""

    def _found(self, entry: ManifestEntry) -> SourceFileInfo | Skipped:
        path = path_of(entry.name)
        try:
            real = os.path.realpath(os.path.join(self._folder, entry.name), strict=True)
            status = os.stat(real)
        except OSError as error:
            return Skipped(path, error.strerror or str(error))
        if not is_within(real, self._folder):
            return Skipped(path, "is a link out of the source")
        if not stat.S_ISREG(status.st_mode):
            return Skipped(path, f"is {kind_of(status.st_mode)}, not a file")
        version = versions.of_digest(entry.digest, entry.kind)
        return SourceFileInfo(path, real, status.st_size, version)
