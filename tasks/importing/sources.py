"""What can be imported: a source, and what it says of each of its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tasks.sources.open_source import Opener, open_source

if TYPE_CHECKING:
    from collections.abc import Iterator


MOST_JOBS = 64
"""More files at once are no quicker, and servers begin to refuse."""


class SourceError(Exception):
    """A source that cannot be imported at all."""


@dataclass(frozen=True, slots=True)
class SourceFileInfo:
    """A file that may be imported."""

    path: str
    """In the index: relative to the source, with "/" between folders (`files.path_of`)."""
    source: str
    """Its absolute name, without links, or its URL (`opening.open_source`)."""
    size: int | None
    """Bytes; None: nobody knows before it is read."""
    version: str
    """Which content it has at present, as sources of its kind tell that."""
    opener: Opener = open_source
    """Opens it, the quickest where files are opened in the order in which they were found."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A name of the source that is not imported, and why."""

    path: str
    reason: str
    whole: bool = False
    """Whether it is a folder, of which nobody knows what is in it, rather than a file; that of an
    empty path is the source itself."""


class Source(Protocol):
    """Files to import, that have one root."""

    usual_jobs: int
    """How many of its files are read at once, unless somebody says how many."""
    most_jobs: int

    @property
    def root(self) -> str:
        """What its files are imported with: its absolute name (`files.path_of`), or its URL."""

    def walk(self) -> Iterator[SourceFileInfo | Skipped]:
        """Yield what the source holds, the same at each walk as long as nobody changes it.
        Raises SourceError when the source cannot be read."""

    def covers(self, path: str) -> bool:
        """Whether a file of this path would be a file of the source."""

    def close(self) -> None:
        """Let go of what is open."""
