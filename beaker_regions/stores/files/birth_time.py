"""The time when a file was made: on Linux statx(2) returns it, and `os.stat` does not."""

from __future__ import annotations

import ctypes
import struct

_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800
_BUFFER_SIZE = 256
_MASK = struct.Struct("<I")
_BIRTH = struct.Struct("<qI")
_BIRTH_AT = 80
"""Bytes before it in ``struct statx``."""

_statx = getattr(ctypes.CDLL(None), "statx", None)


def made_at(descriptor: int) -> int:
    """Return when an open file was made, in nanoseconds since the epoch; 0 where the file system
    does not know."""
    buffer = ctypes.create_string_buffer(_BUFFER_SIZE)
    if _statx is None or _statx(descriptor, b"", _AT_EMPTY_PATH, _STATX_BTIME, buffer):
        return 0
    (known,) = _MASK.unpack_from(buffer)
    if not known & _STATX_BTIME:
        return 0
    seconds, nanoseconds = _BIRTH.unpack_from(buffer, _BIRTH_AT)
    return int(seconds) * 10**9 + int(nanoseconds)
