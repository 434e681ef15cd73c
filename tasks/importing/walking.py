"""Finding the files of a source, by name; nothing is opened here."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.files import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class SourceError(Exception):
    """A source that cannot be imported at all."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that may be imported."""

    path: str
    """In the index: relative to the source, with "/" between folders (`files.path_of`)."""
    source: str
    """Its absolute name in the file system."""
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

    def walk(self, without: str | None = None) -> Iterator[Found | Refused]:
        """Yield what the source holds, sorted by name within each folder; refuse the folder
        ``without`` (absolute, no links). Raises SourceError when the source cannot be read.

        A link to a file within the source is that file under another name. A link to a folder
        within it is passed over: what the folder holds comes under its own name.
        """
        if without is not None and is_within(self.root, without):
            raise SourceError(f"{path_of(self.root)!r} holds what was imported")
        if self.only is not None:
            yield _look(self.root, os.path.join(self.root, self.only))
            return
        try:
            open_folders = [iter(_names(self.root))]
        except OSError as error:
            raise SourceError(f"{path_of(self.root)!r} cannot be read: {error.strerror}") from error
        # A stack of its own: folders may be nested deeper than Python's calls.
        while open_folders:
            entry = next(open_folders[-1], None)
            if entry is None:
                open_folders.pop()
            elif entry.is_dir(follow_symlinks=False):
                if entry.path == without:
                    yield Refused(_path(self.root, entry.path), "holds what was imported")
                    continue
                try:
                    open_folders.append(iter(_names(entry.path)))
                except OSError as error:
                    yield Refused(_path(self.root, entry.path), error.strerror or str(error))
            elif not (entry.is_symlink() and self._leads_to_folder(entry)):
                yield _look(self.root, entry.path)

    def _leads_to_folder(self, link: os.DirEntry[str]) -> bool:
        return link.is_dir() and is_within(os.path.realpath(link.path), self.root)


def is_within(real: str, root: str) -> bool:
    """Whether a name without links lies in the folder ``root``, or is it."""
    return os.path.commonpath((real, root)) == root


def _names(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _look(root: str, name: str) -> Found | Refused:
    path = _path(root, name)
    try:
        real = os.path.realpath(name, strict=True) if os.path.islink(name) else name
        found = os.stat(name)
    except OSError as error:
        return Refused(path, error.strerror or str(error))
    if not is_within(real, root):
        return Refused(path, "is a link out of the source")
    if not stat.S_ISREG(found.st_mode):
        return Refused(path, f"is {_kind(found.st_mode)}, not a file")
    return Found(path, name, found.st_size, found.st_mtime_ns)


def _path(root: str, name: str) -> str:
    return path_of(os.path.relpath(name, root))


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "something special")
