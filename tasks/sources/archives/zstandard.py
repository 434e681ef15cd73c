"""Zstandard (RFC 8878): of the standard library from Python 3.14 on, of its backport before."""

from __future__ import annotations

import sys
from typing import IO

from tasks.sources.archives.damage import TooLarge, Untrusted
from tasks.sources.archives.limits import WINDOW_LOG

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["ZstdUnpacked", "zstd"]

_WINDOW = "too much memory"
"""Of libzstd's words for a frame whose window is too large."""


class ZstdUnpacked:
    """What unpacks a file of one frame or several, among them frames that are to be skipped."""

    def __init__(self, file: IO[bytes]) -> None:
        limits: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
        self._file = zstd.ZstdFile(file, options=limits)

    def read(self, size: int, /) -> bytes:
        """Read ``size`` bytes; fewer at the end. Raises TooLarge for a window that is, Untrusted
        for what cannot be unpacked, EOFError where the rest is missing."""
        try:
            return self._file.read(size)
        except zstd.ZstdError as error:
            if _WINDOW in str(error):
                raise TooLarge(
                    f"takes more than {1 << WINDOW_LOG} bytes of memory to unpack, which is "
                    "refused; pack it with a smaller window (zstd --long=27, or without --long)"
                ) from error
            raise Untrusted(f"is damaged: {error}") from error
