"""What an archive holds, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from io import RawIOBase
from typing import IO, TYPE_CHECKING, Protocol

from tasks.sources.archives.damage import ArchiveError, damage
from tasks.sources.archives.limits import STEP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.sources.progress import Progress


@dataclass(frozen=True, slots=True)
class Member:
    """Something that an archive holds."""

    name: str
    """As the archive has it."""
    position: int
    """Where the archive has it."""
    size: int = 0
    """Bytes of its content, if it is a file."""
    is_folder: bool = False
    link: str | None = None
    """The name in the archive that it leads to, if it is a link."""
    refusal: str = ""
    """Why nobody can, or should, read it; empty for what is as it should be."""

    @property
    def is_file(self) -> bool:
        return not (self.is_folder or self.refusal or self.link is not None)


class Archive(Protocol):
    """An archive that is open for reading."""

    def members(self) -> Iterator[Member]:
        """Yield what the archive holds, from its start. Raises ArchiveError where it is damaged."""

    def open(self, member: Member) -> IO[bytes]:
        """Open a file of the archive until `members` goes on, or another is opened. Raises
        ArchiveError."""

    def verify(self) -> None:
        """Raise SourceChanged when the archive is not what it was when it was opened."""

    def close(self) -> None:
        """Let go of the archive."""


def inner_path(name: str) -> str | None:
    """Return the path that a name in an archive means, without detours; None for one that is, or
    leads, outside."""
    if name.startswith("/"):
        return None
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


class MemberStream(RawIOBase):
    """The content of a file in an archive: whole, or there is an error in place of its end."""

    def __init__(
        self,
        archive: Archive,
        member: Member,
        progress: Progress,
        done: Callable[[], None] | None = None,
    ) -> None:
        """Open ``member``; ``progress`` counts the bytes that are read, and ``done`` is called
        at the end of all. Raises ArchiveError."""
        super().__init__()
        self._content: IO[bytes] | None = None  # for `close`, if it cannot be opened
        self._archive = archive
        self._left = member.size
        self._progress = progress
        self._done = done
        self._content = archive.open(member)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes, at most `STEP` at once. Raises ArchiveError for content that
        is damaged, SourceChanged when the archive has changed meanwhile."""
        if size < 0:
            return self.readall()
        assert self._content is not None
        with damage():
            chunk = self._content.read(min(size, STEP))
        self._left -= len(chunk)
        if chunk:
            self._progress.advance(len(chunk))
        elif size:
            if self._left:
                raise ArchiveError("is not of the size that the archive says")
            self._archive.verify()
        return chunk

    def close(self) -> None:
        content, self._content = self._content, None
        if content is not None:
            content.close()
            if self._done is not None:
                self._done()
        super().close()
