"""The files that tars are read from. Each read is bounded, and so is the size in all."""

from __future__ import annotations

import contextlib
from typing import IO, TYPE_CHECKING

from tasks.sources.archives.ahead import Readable, ReadAhead
from tasks.sources.archives.damage import (
    ArchiveError,
    StreamCutError,
    TooLargeError,
    UntrustedError,
    damage,
)
from tasks.sources.archives.limits import STEP, Limits

if TYPE_CHECKING:
    from collections.abc import Iterator


_HEADERS = 2 * STEP
"""The most bytes of the headers of one member. The map of a sparse file is one: each 2 bytes of it
may take 100 in memory."""


class _Bounded:
    """Bounds what is read at once, and as the headers of one member."""

    _left: int | None = None
    """Bytes that may still be read as headers; None while content is read."""

    @contextlib.contextmanager
    def headers(self) -> Iterator[None]:
        """Within this block, the headers of one member are read."""
        self._left = _HEADERS
        try:
            yield
        finally:
            self._left = None

    def _check(self, size: int) -> None:
        """Raise TooLargeError for a larger read than a valid archive needs, ArchiveError for less
        than nothing."""
        if size < 0:
            raise ArchiveError(f"is damaged: it has a header of {size} bytes")
        if self._left is not None:
            self._left -= size
        if size > STEP or (self._left or 0) < 0:
            raise TooLargeError(
                f"has a header of {size if size > STEP else _HEADERS} bytes, which is refused"
            )


class PlainFile(_Bounded):
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
        header may have, ArchiveError if it is negative."""
        self._check(size)
        return self._file.read(size)

    def drain(self) -> None:
        """There is no checksum at the end."""

    def doubt(self) -> None:
        """Do nothing: no checksum shows whether the bytes before were right."""

    def close(self) -> None:
        """Nothing is open."""


class UnpackedFile(_Bounded):
    """A compressed tar, unpacked while it is read: forward, and back by the last read at most."""

    def __init__(self, stream: Readable, limits: Limits, packed: int) -> None:
        """Unpack ``stream``, a file of ``packed`` bytes."""
        self._ahead = ReadAhead(stream)
        self._limits = limits
        self._packed = packed
        self._former = self._chunk = b""
        """The last two chunks."""
        self._position = 0
        self.reached = 0
        """Bytes that have been unpacked."""

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        self._position = position

    def read(self, size: int) -> bytes:
        """Read as `PlainFile.read` does. Raises UntrustedError for bytes that cannot be unpacked,
        StreamCutError if the rest is missing, TooLargeError beyond the limit."""
        self._check(size)
        parts: list[bytes] = []
        while size:
            left = self.reached - self._position
            if left <= 0:
                if not self._unpack():
                    break
                continue
            chunk = self._chunk
            if left > len(chunk):
                chunk, left = self._former, left - len(chunk)
            if left > len(chunk):
                raise ArchiveError("is damaged: it leads back to what was read before")
            part = chunk[len(chunk) - left :][:size]
            parts.append(part)
            self._position += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _unpack(self) -> bool:
        """Unpack one more chunk; return whether there was one."""
        try:
            with damage(UntrustedError):
                chunk = self._ahead.read()
        except UntrustedError as error:
            if isinstance(error.__cause__, EOFError):
                # The bytes before may be right.
                raise StreamCutError("is cut short") from error
            raise
        if chunk:
            self._former, self._chunk = self._chunk, chunk
        self.reached += len(chunk)
        if self.reached > self._limits.unpacked(self._packed):
            raise TooLargeError(self._limits.too_large(self._packed))
        return bool(chunk)

    def drain(self) -> None:
        """Read to the end, where the checksum is. Raises the errors of `read`."""
        while self._unpack():
            pass

    def doubt(self) -> None:
        """Raise UntrustedError unless the checksum says that nonsense is what was packed."""
        try:
            self.drain()
        except ArchiveError as error:
            raise UntrustedError(str(error)) from error

    def close(self) -> None:
        """Stop to unpack."""
        self._ahead.close()
