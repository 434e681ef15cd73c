"""A source of files to import, and its information about each file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tasks.sources.archives.limits import Limits
from tasks.sources.open_source import Opener, open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


MAX_JOBS = 64
"""More files at the same time are no faster, and servers begin to refuse requests."""


def path_in(into: str, path: str) -> str:
    """Return the path on the site of a file that is imported into a folder of the site."""
    return f"{into}/{path}" if into and path else into or path


def is_site_path(path: str) -> bool:
    """Whether a file or a folder of the site may have this path."""
    return not any(part in ("", ".", "..") or "\0" in part for part in path.split("/"))


class SourceError(Exception):
    """A source that cannot be imported at all."""


class Fetching(Protocol):
    """Shows the progress of fetching an archive, whose files are imported afterwards."""

    def fetch(self, url: str, size: int) -> None:
        """Begin with one of ``size`` bytes; 0: not known."""

    def expect(self, size: int) -> None:
        """Expect ``size`` more bytes."""

    def advance(self, size: int) -> None:
        """Count ``size`` more bytes that were read."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """The operator's options for a source."""

    into: str = ""
    """The folder of the site that the files go into, as a path of the index; "" for the top."""
    as_file: bool = False
    """Take an archive or a manifest for one file."""
    name: str = ""
    """The path below ``into`` of the one file at a URL; "" for the name in the URL."""
    fetching: Fetching | None = None
    """Shows the progress of fetching an archive."""
    leaves_out: Callable[[str], bool] | None = None
    """Whether the folder with this path, below the source, need not be read."""
    keep: bool = False
    """A source that cannot be read has no files, and is no error."""
    limits: Limits = field(default_factory=Limits)
    """Of an archive."""


class SourceFileInfo(NamedTuple):
    """A file that may be imported."""

    path: str
    """Relative to the source, with "/" between folders, as `path_of` writes it."""
    source: str
    """Its absolute name, without links, or its URL (`tasks.sources.open_source`)."""
    size: int | None
    """Bytes. None: unknown until the file is read."""
    version: str
    """Identifies its present content, in the way of its kind of source."""
    opener: Opener = open_source
    """Opens the file. It is fastest if files are opened in the order of the walk."""
    is_checked: bool = False
    """Whether its server has just said that it has this version."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A name in the source that is not imported, and the reason."""

    path: str
    reason: str
    hides_files: bool = False
    """True for a folder that could not be read: it may hold files that are not known. An empty path
    stands for the source itself. False for a single file."""
    by_nature: bool = False
    """True for what is no file of the source: a socket, a link out of it. It is no failure."""


class Source(Protocol):
    """Files to import, below one root."""

    default_jobs: int
    """The number of files that are read at the same time, if the operator gives none."""
    max_jobs: int
    """The largest number that the operator may give."""
    may_fork: bool
    """Whether its files can be opened in a process that was forked from this one."""

    @property
    def root(self) -> str:
        """Its absolute name, as `path_of` writes it, or its URL. The rows of its files have it."""

    def walk(self) -> Iterator[SourceFileInfo | Skipped]:
        """Yield the files of the source, and the names that are skipped. Every walk yields the
        same unless the source changes. Raises SourceError if the source cannot be read."""

    def covers(self, path: str) -> bool:
        """Whether a file with this path would belong to the source."""

    def close(self) -> None:
        """Close open files and connections."""
