"""What can be imported: a source, and what it says of each of its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tasks.opening import Opener, open_source

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
    """Its absolute name, without links (`opening.open_source`)."""
    size: int
    """Bytes."""
    mtime_ns: int
    """When it was last changed, in nanoseconds since the epoch."""
    opener: Opener = open_source
    """Opens it, the quickest where files are opened in the order in which they were found."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A name of the source that is not imported, and why."""

    path: str
    reason: str
    whole: bool = False
    """Whether it is a folder, of which nobody knows what is in it, rather than a file; that of an
    empty path is the source itself."""


class Source(Protocol):
    """Files to import, that have one root."""

    @property
    def prefix(self) -> str:
        """What the absolute name (`files.path_of`) of a file of the source has before its path;
        a link's does not: it is that of the file it leads to."""

    def walk(self) -> Iterator[Found | Refused]:
        """Yield what the source holds, the same at each walk as long as nobody changes it.
        Raises SourceError when the source cannot be read."""

    def covers(self, path: str) -> bool:
        """Whether a file of this path would be a file of the source."""

    def close(self) -> None:
        """Let go of what is open."""
