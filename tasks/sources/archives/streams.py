"""The content of compressed files, unpacked while it is read."""

from __future__ import annotations

import bz2
import lzma
import sys
from typing import IO, TYPE_CHECKING, ClassVar, Protocol

from tasks.sources.archives.damage import TooLargeError, UntrustedError
from tasks.sources.archives.inflate import FLAGS, gzip_decompressor
from tasks.sources.archives.limits import WINDOW, WINDOW_LOG

if TYPE_CHECKING:
    import zlib

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["Bz2Unpacked", "GzipUnpacked", "XzUnpacked", "ZstdUnpacked", "zstd"]

_PACKED = 128 * 1024
"""Bytes that are read from the file at once."""


class _Stream(Protocol):
    """Unpacks one stream, as the standard library's decompressors do."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class _Gzip:
    """A member of a gzip file (RFC 1952). Its checksum is verified."""

    def __init__(self) -> None:
        self._start = b""
        """What has come before the flags, in which case there is no stream yet."""
        self._stream: zlib._Decompress | None = None
        self._has_more = False
        """Whether it may unpack more of what it has taken."""

    @property
    def eof(self) -> bool:
        return self._stream is not None and self._stream.eof

    @property
    def needs_input(self) -> bool:
        return self._stream is None or not (self._has_more or self._stream.unconsumed_tail)

    @property
    def unused_data(self) -> bytes:
        return b"" if self._stream is None else self._stream.unused_data

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        if self._stream is None:
            self._start += data
            if len(self._start) <= FLAGS:
                return b""
            data, self._start = self._start, b""
            self._stream = gzip_decompressor(data[FLAGS])
        unpacked = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        self._has_more = len(unpacked) == max_length
        return unpacked


class Unpacked:
    """A compressed file of one or several streams, with zeros after each of them, or none."""

    magic: ClassVar[bytes]
    """How a stream begins."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._stream = self._new()

    def read(self, size: int, /) -> bytes:
        """Read up to ``size`` bytes; none only at the end. Raises TooLargeError if that takes too
        much memory, EOFError if the rest is missing, and the errors of the format's module for
        bytes that cannot be unpacked."""
        while True:
            packed = b""
            if self._stream.eof:
                packed = self._stream.unused_data.lstrip(b"\0") or self._after_padding()
                if not packed or self._is_over(packed):
                    return b""
                self._stream = self._new()
            elif self._stream.needs_input and not (packed := self._file.read(_PACKED)):
                raise EOFError("the file ended before the end of its last stream")
            if unpacked := self._unpack(packed, size):
                return unpacked

    @classmethod
    def least(cls, _: IO[bytes], size: int, /) -> int:
        """Return how many bytes a file of ``size`` bytes unpacks to at least, about."""
        return size

    def close(self) -> None:
        """Nothing runs for it."""

    def _new(self) -> _Stream:
        raise NotImplementedError

    def _is_over(self, rest: bytes) -> bool:
        """Whether what follows a stream is no other one, and does not count."""
        return False

    def _unpack(self, packed: bytes, size: int) -> bytes:
        return self._stream.decompress(packed, size)

    def _after_padding(self) -> bytes:
        """Return what follows a stream and the zeros after it."""
        while packed := self._file.read(_PACKED):
            if rest := packed.lstrip(b"\0"):
                return rest
        return b""


class GzipUnpacked(Unpacked):
    """A gzip file. Python's lock is released while it is unpacked."""

    magic = b"\x1f\x8b"

    @classmethod
    def least(cls, file: IO[bytes], size: int, /) -> int:
        # At its end is the size of what its last stream was made of, modulo 4 GB.
        file.seek(max(0, size - 4))
        return max(size, int.from_bytes(file.read(4), "little"))

    def _new(self) -> _Stream:
        return _Gzip()


class Bz2Unpacked(Unpacked):
    """A bzip2 file. What follows its last stream does not count, as for the command."""

    magic = b"BZh"

    def _new(self) -> _Stream:
        return bz2.BZ2Decompressor()

    def _is_over(self, rest: bytes) -> bool:
        return rest[: len(self.magic)] != self.magic[: len(rest)]


class XzUnpacked(Unpacked):
    """An .xz file. `lzma.LZMAFile` has no memory limit, and 100 bytes can ask for 4 GB."""

    magic = b"\xfd7zXZ\0"
    _MEMORY = WINDOW + 16 * 1024 * 1024
    """Bytes for a dictionary as large as Zstandard's window, and for liblzma's other data."""

    def _new(self) -> _Stream:
        return lzma.LZMADecompressor(memlimit=self._MEMORY)

    def _unpack(self, packed: bytes, size: int) -> bytes:
        try:
            return super()._unpack(packed, size)
        except lzma.LZMAError as error:
            if "Memory usage limit" in str(error):  # liblzma's message for a larger dictionary
                raise TooLargeError(TOO_MUCH_MEMORY) from error
            raise


TOO_MUCH_MEMORY = (
    f"takes more than {WINDOW} bytes of memory to unpack, which is refused; pack it with a smaller "
    "dictionary (xz -9, or less)"
)


class ZstdUnpacked(Unpacked):
    """A Zstandard file (RFC 8878), with skippable frames or without. It is unpacked by the standard
    library since Python 3.14, before by its backport."""

    magic = b"\x28\xb5\x2f\xfd"

    def _new(self) -> _Stream:
        limits: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
        return zstd.ZstdDecompressor(options=limits)

    def _unpack(self, packed: bytes, size: int) -> bytes:
        try:
            return super()._unpack(packed, size)
        except zstd.ZstdError as error:
            if "too much memory" in str(error):  # libzstd's message for a larger window
                raise TooLargeError(
                    f"takes more than {WINDOW} bytes of memory to unpack, which is refused; pack "
                    "it with a smaller window (zstd --long=27, or without --long)"
                ) from error
            raise UntrustedError(f"is damaged: {error}") from error
