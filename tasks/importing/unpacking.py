"""Files of an archive that are stored while it is listed, so that it is unpacked once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.files.content import read_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.importing.sources import SourceFileInfo
    from tasks.sources.archives.limits import Limits


class EarlyFiles:
    """The files that were stored before all of the archive was read. No row names them yet."""

    def __init__(
        self, store: Callable[[SourceFileInfo], bool], limits: Limits, packed: int
    ) -> None:
        """``store`` stores a file, and returns whether it has read it. ``packed``: the bytes of the
        archive."""
        self._store = store
        self._limits = limits
        self._packed = packed
        self._unpacked = 0
        self._stored: dict[str, tuple[SourceFileInfo, bool]] = {}
        """By their paths, with what ``store`` has said."""

    def add(self, path: str, found: SourceFileInfo | None) -> None:
        """Store a file that is found at a path in the archive; None: there is a link. It takes the
        place of a file of this name."""
        former = self._stored.pop(path, None)
        if former is not None:
            _take_back(former[0])
        if found is None:
            return
        size = found.size or 0
        if self._limits.refusal(size, self._unpacked, self._packed):
            return
        self._unpacked += size
        self._stored[path] = found, True  # also if it cannot be stored any more
        self._stored[path] = found, self._store(found)

    def take_back(self) -> None:
        """Take back what was read in this run. What a former run had stored is left alone."""
        for found, was_read in self._stored.values():
            if was_read:
                _take_back(found)
        self._stored.clear()


def _take_back(found: SourceFileInfo) -> None:
    read_file.invalidate(found.source, found.size, found.version)
