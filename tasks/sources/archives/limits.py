"""Limits of archives. A few kilobytes can be made to unpack to petabytes."""

from __future__ import annotations

from dataclasses import dataclass

ALLOWANCE = 64 * 1024 * 1024
"""Bytes that every archive may unpack to, at any ratio."""
NAME = 4096
"""The most bytes of a name, as in the file system."""
STEP = 1024 * 1024
"""The most bytes that are unpacked at once, or read into memory as one header."""
WINDOW_LOG = 27
WINDOW = 1 << WINDOW_LOG
"""Bytes of the window of Zstandard or LZMA, which is kept in memory: 128 MiB. The zstd command
allows as much by default, and its strongest level needs it."""
_IN_DIRECTORY = 134
"""Bytes of a name in the directory of a zip, which is read into memory: twice the usual."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may contain. The operator may set each of them."""

    members: int = 1_000_000
    """Names in one archive. They are listed in memory, some 500 bytes each."""
    size: int = 1024**4
    """Bytes of all its files: more than a usual server's disk."""
    ratio: int = 200
    """Bytes unpacked for each byte of the archive. Text and logs have 10 or 20, tables up to 100.
    The formats allow a thousand and more, but only zeros or an attack reach that."""
    file: int = 1024**4
    """Bytes of one file."""

    @property
    def directory(self) -> int:
        """Bytes of a zip's directory."""
        return self.members * _IN_DIRECTORY + STEP // 16

    def unpacked(self, packed: int) -> int:
        """Return how many bytes an archive of ``packed`` bytes may unpack to."""
        return min(self.size, max(ALLOWANCE, self.ratio * packed))

    def too_many(self) -> str:
        """Return what is wrong with an archive of too many names."""
        return f"has more than {self.members} names, which is refused; {_mend('members')}"

    def too_large(self, packed: int) -> str:
        """Return what is wrong with an archive of ``packed`` bytes that unpacks to too many."""
        limit = self.unpacked(packed)
        mend = _mend("size") if limit == self.size else f"{_mend('ratio')} times its own size"
        return f"unpacks to more than {limit} bytes, which is refused; {mend}"

    def refusal(self, size: int, before: int, packed: int) -> str:
        """Return what is wrong with a file of ``size`` bytes, after files of ``before`` bytes, in
        an archive of ``packed`` bytes; empty if nothing is."""
        if size > self.file:
            return f"has {size} bytes, more than {self.file}, and is refused; {_mend('file')}"
        if before + size > self.unpacked(packed):
            return f"has {size} bytes, with which the archive {self.too_large(packed)}"
        return ""


def _mend(name: str) -> str:
    return f"--archive-limit {name}=N allows N"
