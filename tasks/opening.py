"""Opening what an absolute name stands for: a file, or a file in an archive."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from tasks.archives.formats import SEPARATOR, open_member
from tasks.reading import Advance, SourceFile

Opener = Callable[[str, int, int, Advance], BinaryIO]
"""Opens a file by its name, size (bytes), and modification time (nanoseconds since the epoch)."""


def open_source(name: str, size: int, mtime_ns: int, advance: Advance) -> BinaryIO:
    """Open the file ``name``, absolute and without links, of ``size`` bytes and modified at
    ``mtime_ns``; or, as ``ARCHIVE//PATH``, one in an archive that was modified then. ``advance``
    is told of the bytes that are read. Raises OSError for what is not that any more."""
    if SEPARATOR in name:
        return open_member(name, size, mtime_ns, advance)
    return SourceFile(name, size, mtime_ns, advance)
