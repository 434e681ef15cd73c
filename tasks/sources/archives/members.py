"""The members of an archive, in any format."""

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
    """A member of an archive: a file, a folder or a link."""

    name: str
    """As in the archive."""
    position: int
    """Its position in the archive."""
    size: int = 0
    """Bytes of its content, if it is a file."""
    is_folder: bool = False
    link: str | None = None
    """The name in the archive that it leads to, if it is a link."""
    refusal: str = ""
    """Why it is not read; empty if nothing is wrong."""
    by_nature: bool = False
    """Whether that is because it is no file, but a device or the like."""

    @property
    def is_file(self) -> bool:
        return not (self.is_folder or self.refusal or self.link is not None)


class Archive(Protocol):
    """An archive that is open for reading."""

    in_any_order: bool
    """Whether a file of it can be opened without reading those before it."""

    @property
    def least(self) -> int:
        """Bytes that it unpacks to, at least, about; 0: not known."""

    def reopen(self) -> None:
        """Take a position of its own, in a process that was forked from the one that opened it."""

    def members(self) -> Iterator[Member]:
        """Yield the members, from the archive's start. Raises ArchiveError if it is damaged."""

    def open(self, member: Member) -> IO[bytes]:
        """Open a file of the archive. It can be read until `members` continues, or another file is
        opened. Raises ArchiveError."""

    def verify(self) -> None:
        """Raise SourceChangedError when the archive is not what it was when it was opened."""

    def close(self) -> None:
        """Close the archive."""


def inner_path(name: str) -> str | None:
    """Return the path of a name in an archive, without "." and ".."; None if it leads outside."""
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
    """The content of a file in an archive. If it is not whole, its end raises an error."""

    def __init__(
        self,
        archive: Archive,
        member: Member,
        progress: Progress,
        done: Callable[[], None] | None = None,
    ) -> None:
        """Open ``member``. ``progress`` counts the bytes that are read; `close` calls ``done``.
        Raises ArchiveError."""
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
        is damaged, SourceChangedError when the archive has changed since."""
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
