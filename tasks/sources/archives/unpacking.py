"""The files that tars are read from. Each read is bounded, and so is the size in all."""

from __future__ import annotations

from typing import IO, Protocol

from tasks.sources.archives.damage import (
    ArchiveError,
    StreamCutError,
    TooLargeError,
    UntrustedError,
    damage,
)
from tasks.sources.archives.limits import STEP


class Readable(Protocol):
    """Unpacks a file while it is read."""

    def read(self, size: int, /) -> bytes: ...


class PlainFile:
    """A tar that is not compressed."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self.reached = size
        """Bytes of the file."""

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, position: int) -> None:
        self._file.seek(position)

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes; fewer at the end. Raises TooLargeError if ``size`` is more than a
        header may have."""
        check_step(size)
        return self._file.read(size)

    def drain(self) -> None:
        """There is no checksum at the end."""

    def doubt(self) -> None:
        """Do nothing: no checksum shows whether the bytes before were right."""


class UnpackedFile:
    """A compressed tar, unpacked while it is read: forward, and back only within the last read."""

    def __init__(self, stream: Readable, limit: int) -> None:
        """Unpack ``stream``, to no more than ``limit`` bytes."""
        self._stream = stream
        self._limit = limit
        self._latest = b""
        self._unread = 0
        """Bytes at the end of the last read that will be read again."""
        self.reached = 0
        """Bytes that have been unpacked."""

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
        """Read as `PlainFile.read` does. Raises UntrustedError for bytes that cannot be unpacked,
        StreamCutError if the rest is missing, TooLargeError beyond the limit."""
        check_step(size)
        again = self._latest[len(self._latest) - self._unread :][:size]
        self._unread -= len(again)
        if len(again) == size:
            return again
        try:
            with damage(UntrustedError):
                chunk = self._stream.read(size - len(again))
        except UntrustedError as error:
            if isinstance(error.__cause__, EOFError):
                # The bytes before may be right.
                raise StreamCutError("is cut short") from error
            raise
        self.reached += len(chunk)
        if self.reached > self._limit:
            raise TooLargeError(f"unpacks to more than {self._limit} bytes, which is refused")
        if chunk:
            self._latest = again + chunk
        return again + chunk

    def drain(self) -> None:
        """Read to the end, where the checksum is. Raises the errors of `read`."""
        while self.read(STEP):
            pass

    def doubt(self) -> None:
        """Raise UntrustedError unless the checksum says that nonsense is what was packed."""
        try:
            self.drain()
        except ArchiveError as error:
            raise UntrustedError(str(error)) from error


def check_step(size: int) -> None:
    """Raise TooLargeError for a larger read than a valid archive needs."""
    if size > STEP:
        raise TooLargeError(f"has a header of {size} bytes, which is refused")
