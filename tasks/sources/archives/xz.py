"""LZMA in .xz files and members of zips, with a memory limit."""

from __future__ import annotations

import lzma
from typing import IO

from tasks.sources.archives.damage import TooLargeError
from tasks.sources.archives.limits import STEP, WINDOW_LOG

_MEMORY = (1 << WINDOW_LOG) + 16 * 1024 * 1024
"""Bytes for a dictionary as large as Zstandard's window, and for liblzma's other data."""
_EXCEEDED = "Memory usage limit"
"""Part of liblzma's message for a larger dictionary."""
TOO_MUCH_MEMORY = (
    f"takes more than {1 << WINDOW_LOG} bytes of memory to unpack, which is refused; pack it with "
    "a smaller dictionary (xz -9, or less)"
)


class XzUnpacked:
    """Unpacks a file of one or several streams. `lzma.LZMAFile` does so too, but has no memory
    limit: a file of 100 bytes can ask for 4 GB."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._stream = self._next_stream()

    def read(self, size: int, /) -> bytes:
        """Read ``size`` bytes; fewer at the end. Raises TooLargeError if the dictionary is too
        large, LZMAError for bytes that cannot be unpacked, EOFError if the rest is missing."""
        read = b""
        while len(read) < size:
            if self._stream.eof:
                rest = self._stream.unused_data.lstrip(b"\0") or self._after_padding()
                if not rest:
                    break
                self._stream = self._next_stream()
                read += self._unpacked(rest, size - len(read))
                continue
            packed = self._file.read(STEP) if self._stream.needs_input else b""
            if not packed and self._stream.needs_input:
                raise EOFError("the file ended before the end of its last stream")
            read += self._unpacked(packed, size - len(read))
        return read

    def _unpacked(self, packed: bytes, size: int) -> bytes:
        try:
            return self._stream.decompress(packed, size)
        except lzma.LZMAError as error:
            if _EXCEEDED in str(error):
                raise TooLargeError(TOO_MUCH_MEMORY) from error
            raise

    def _after_padding(self) -> bytes:
        """Return what follows a stream and the zeros after it."""
        while packed := self._file.read(STEP):
            if rest := packed.lstrip(b"\0"):
                return rest
        return b""

    @staticmethod
    def _next_stream() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(memlimit=_MEMORY)
