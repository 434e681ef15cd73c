"""The files that tars are read from: they go on in bounded steps, and end at a limit."""

from __future__ import annotations

from typing import IO, Protocol

from tasks.sources.archives.damage import ArchiveError, StreamCut, TooLarge, Untrusted, damage
from tasks.sources.archives.limits import STEP


class Readable(Protocol):
    """What unpacks a file that it was given, as it is read."""

    def read(self, size: int, /) -> bytes: ...


class PlainFile:
    """A tar that is not compressed."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self.reached = size
        """Bytes that are there."""

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, position: int) -> None:
        self._file.seek(position)

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes; fewer at the end. Raises TooLarge for more than a header, or a
        step, may have."""
        check_step(size)
        return self._file.read(size)

    def drain(self) -> None:
        """There is no checksum at the end."""

    def doubt(self) -> None:
        """Nothing tells whether what was read before is right."""


class UnpackedFile:
    """A compressed tar, unpacked as it is read: forward, and back within the latest read only."""

    def __init__(self, stream: Readable, limit: int) -> None:
        """Unpack ``stream``, to no more than ``limit`` bytes."""
        self._stream = stream
        self._limit = limit
        self._latest = b""
        self._unread = 0
        """Bytes at the end of the latest read that are to be read again."""
        self.reached = 0
        """Bytes that were unpacked so far."""

    def tell(self) -> int:
        return self.reached - self._unread

    def seek(self, position: int) -> None:
        back = self.reached - position
        if 0 <= back <= len(self._latest):
            self._unread = back
            return
        self._unread = 0
        while self.reached < position and self.read(min(STEP, position - self.reached)):
            pass

    def read(self, size: int) -> bytes:
        """As `PlainFile.read`. Raises Untrusted for bytes that cannot be unpacked, StreamCut
        where the rest is missing, TooLarge beyond the limit."""
        check_step(size)
        again = self._latest[len(self._latest) - self._unread :][:size]
        self._unread -= len(again)
        if len(again) == size:
            return again
        try:
            with damage(Untrusted):
                chunk = self._stream.read(size - len(again))
        except Untrusted as error:
            if isinstance(error.__cause__, EOFError):
                # Nothing is known against what came before.
                raise StreamCut("is cut short") from error
            raise
        self.reached += len(chunk)
        if self.reached > self._limit:
            raise TooLarge(f"unpacks to more than {self._limit} bytes, which is refused")
        if chunk:
            self._latest = again + chunk
        return again + chunk

    def drain(self) -> None:
        """Read to the end, where the checksum is. Raises as `read`."""
        while self.read(STEP):
            pass

    def doubt(self) -> None:
        """Raise Untrusted unless the checksum says that nonsense is what was packed."""
        try:
            self.drain()
        except ArchiveError as error:
            raise Untrusted(str(error)) from error


def check_step(size: int) -> None:
    """Raise TooLarge for a read that nothing sensible asks for."""
    if size > STEP:
        raise TooLarge(f"has a header of {size} bytes, which is refused")
