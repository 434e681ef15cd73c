"""A folder as a source, or a single file of a folder. Files are listed here, not opened."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from beakercache import cache
from tasks.files.content import name_of, path_of
from tasks.importing.sources import MAX_JOBS, Skipped, SourceError, SourceFileInfo
from tasks.sources.source_file import file_version, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _where_regions_are() -> frozenset[str]:
    """Return the folders of the regions. They are never imported."""
    regions = [cache[region] for region in cache.options]
    folders = [region.folder for region in regions if region.folder is not None]
    folders += [region.metrics for region in regions if region.metrics is not None]
    return frozenset(map(os.path.realpath, folders))


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder to import, or a single file (``only``) of a folder."""

    default_jobs = 1
    max_jobs = MAX_JOBS
    may_fork = True

    folder: str
    """Absolute, without links. Nothing outside is ever read."""
    only: str | None = None
    without: frozenset[str] = field(default_factory=_where_regions_are)
    """Folders that are refused; absolute, without links."""
    leaves_out: Callable[[str], bool] | None = None
    """Whether the folder with a path is not wanted, and is not read."""

    @property
    def root(self) -> str:
        return path_of(self.folder)

    def covers(self, path: str) -> bool:
        return self.only is None or path == path_of(self.only)

    def close(self) -> None:
        """Nothing is open."""

    def may_be_without_disk(self, folder: str) -> bool:
        """Whether a folder, by its path below the source, may be where a disk was mounted that is
        not now: it is empty, or it is gone and was at the top of the source."""
        name = os.path.join(self.folder, name_of(folder))
        if not os.path.isdir(name):
            return "/" not in folder
        return not any(files for _, _, files in os.walk(name))

    def walk(self) -> Iterator[SourceFileInfo | Skipped]:
        """Yield the files of the source, sorted by name within each folder.

        A link to a file within the source is that file under another name. A link to a folder
        within it is left out, since the folder's files have their own names.
        """
        if any(is_within(self.folder, folder) for folder in self.without):
            raise SourceError(f"{self.root!r} is where the regions keep their entries")
        prefix = os.path.join(self.folder, "")
        if self.only is not None:
            yield _found(path_of(self.only), prefix + self.only)
            return
        try:
            open_folders = [iter(_entries(self.folder))]
        except OSError as error:
            raise SourceError(f"{self.root!r} cannot be read: {error.strerror}") from error
        # A stack, since folders may be nested deeper than Python's calls.
        while open_folders:
            entry = next(open_folders[-1], None)
            if entry is None:
                open_folders.pop()
                continue
            path = path_of(entry.path[len(prefix) :])
            if entry.is_symlink():
                if (found := self._linked(path, entry.path)) is not None:
                    yield found
            elif not entry.is_dir():
                yield _found(path, entry.path)
            elif self.leaves_out is not None and self.leaves_out(path):
                continue
            elif entry.path in self.without:
                reason = "is where the regions keep their entries"
                yield Skipped(path, reason, hides_files=True, by_nature=True)
            else:
                try:
                    open_folders.append(iter(_entries(entry.path)))
                except OSError as error:
                    yield Skipped(path, error.strerror or str(error), hides_files=True)

    def _linked(self, path: str, link: str) -> SourceFileInfo | Skipped | None:
        """Return the target of a link; None for a folder, which is imported by its own name."""
        try:
            real = os.path.realpath(link, strict=True)
        except OSError as error:
            leads_nowhere = error.errno in (errno.ENOENT, errno.ELOOP)
            return Skipped(path, error.strerror or str(error), by_nature=leads_nowhere)
        if not is_within(real, self.folder):
            return Skipped(path, "is a link out of the source", by_nature=True)
        if any(is_within(real, folder) for folder in self.without):
            return Skipped(
                path, "is a link to where the regions keep their entries", by_nature=True
            )
        return None if os.path.isdir(real) else _found(path, real)


def is_within(real: str, folder: str) -> bool:
    """Whether a name without links is ``folder`` or lies in it."""
    return os.path.commonpath((real, folder)) == folder


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _found(path: str, real: str) -> SourceFileInfo | Skipped:
    try:
        status = os.lstat(real)
    except OSError as error:
        return Skipped(path, error.strerror or str(error))
    if not stat.S_ISREG(status.st_mode):
        return Skipped(path, f"is {kind_of(status.st_mode)}, not a file", by_nature=True)
    return SourceFileInfo(path, real, status.st_size, file_version(status))
