"""Zstandard (RFC 8878), from the standard library since Python 3.14, before from its backport."""

from __future__ import annotations

import sys
from typing import IO

from tasks.sources.archives.damage import TooLargeError, UntrustedError
from tasks.sources.archives.limits import WINDOW_LOG

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["ZstdUnpacked", "zstd"]

_WINDOW = "too much memory"
"""Part of libzstd's message for a frame whose window is too large."""


class ZstdUnpacked:
    """Unpacks a file of one or several frames, and skips skippable ones."""

    def __init__(self, file: IO[bytes]) -> None:
        limits: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
        self._file = zstd.ZstdFile(file, options=limits)

    def read(self, size: int, /) -> bytes:
        """Read ``size`` bytes; fewer at the end. Raises TooLargeError if the window is too large,
        UntrustedError for bytes that cannot be unpacked, EOFError if the rest is missing."""
        try:
            return self._file.read(size)
        except zstd.ZstdError as error:
            if _WINDOW in str(error):
                raise TooLargeError(
                    f"takes more than {1 << WINDOW_LOG} bytes of memory to unpack, which is "
                    "refused; pack it with a smaller window (zstd --long=27, or without --long)"
                ) from error
            raise UntrustedError(f"is damaged: {error}") from error
