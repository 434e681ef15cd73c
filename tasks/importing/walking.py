"""Finding the files of a source, by name; nothing is opened here."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.files import path_of
from tasks.reading import modified_ns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class SourceError(Exception):
    """A source that cannot be imported at all."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that may be imported."""

    path: str
    """In the index: relative to the source, with "/" between folders (`files.path_of`)."""
    source: str
    """Its absolute name in the file system, without links."""
    size: int
    """Bytes."""
    mtime_ns: int
    """When it was last changed, in nanoseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A name of the source that is not imported, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """A folder to import, or a single file (``only``) of a folder."""

    root: str
    """Absolute, without links: what lies outside is never read."""
    only: str | None = None

    @classmethod
    def at(cls, name: str) -> Source:
        """Return the source at ``name``. Raises SourceError."""
        try:
            real = os.path.realpath(name, strict=True)
            mode = os.stat(real).st_mode
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SourceError(f"{path_of(name)!r} cannot be imported: {reason}") from error
        if stat.S_ISDIR(mode):
            return cls(real)
        if stat.S_ISREG(mode):
            return cls(os.path.dirname(real), os.path.basename(real))
        raise SourceError(f"{path_of(name)!r} is {_kind(mode)}, neither a folder nor a file")

    def walk(self, without: Collection[str] = ()) -> Iterator[Found | Refused]:
        """Yield what the source holds, sorted by name within each folder; refuse the folders
        ``without`` (absolute, no links). Raises SourceError when the source cannot be read.

        A link to a file within the source is that file under another name. A link to a folder
        within it is passed over: what the folder holds comes under its own name.
        """
        if any(_is_within(self.root, folder) for folder in without):
            raise SourceError(f"{path_of(self.root)!r} is where the regions keep their entries")
        prefix = os.path.join(self.root, "")
        if self.only is not None:
            yield _found(path_of(self.only), prefix + self.only)
            return
        try:
            open_folders = [iter(_entries(self.root))]
        except OSError as error:
            raise SourceError(f"{path_of(self.root)!r} cannot be read: {error.strerror}") from error
        # A stack of its own: folders may be nested deeper than Python's calls.
        while open_folders:
            entry = next(open_folders[-1], None)
            if entry is None:
                open_folders.pop()
                continue
            path = path_of(entry.path[len(prefix) :])
            if entry.is_symlink():
                if (found := self._linked(path, entry.path, without)) is not None:
                    yield found
            elif not entry.is_dir():
                yield _found(path, entry.path)
            elif entry.path in without:
                yield Refused(path, "is where the regions keep their entries")
            else:
                try:
                    open_folders.append(iter(_entries(entry.path)))
                except OSError as error:
                    yield Refused(path, error.strerror or str(error))

    def _linked(self, path: str, link: str, without: Collection[str]) -> Found | Refused | None:
        """Return what a link leads to; None for a folder that is imported by its own name."""
        try:
            real = os.path.realpath(link, strict=True)
        except OSError as error:
            return Refused(path, error.strerror or str(error))
        if not _is_within(real, self.root):
            return Refused(path, "is a link out of the source")
        if any(_is_within(real, folder) for folder in without):
            return Refused(path, "is a link to where the regions keep their entries")
        return None if os.path.isdir(real) else _found(path, real)


def _is_within(real: str, folder: str) -> bool:
    """Whether a name without links is, or lies in, the folder of another."""
    return os.path.commonpath((real, folder)) == folder


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _found(path: str, real: str) -> Found | Refused:
    try:
        status = os.lstat(real)
    except OSError as error:
        return Refused(path, error.strerror or str(error))
    if not stat.S_ISREG(status.st_mode):
        return Refused(path, f"is {_kind(status.st_mode)}, not a file")
    return Found(path, real, status.st_size, modified_ns(status))


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "something special")
