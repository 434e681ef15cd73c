"""Files of an archive that are stored while it is listed, so that it is unpacked once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.importing.sources import SourceFileInfo
    from tasks.sources.archives.limits import Limits


class EarlyFiles:
    """The files that were stored before all of the archive was read. No row names them yet."""

    def __init__(
        self,
        store: Callable[[SourceFileInfo], bool],
        forget: Callable[[str, int], None],
        limits: Limits,
        packed: int,
    ) -> None:
        """``store`` stores a file, and returns whether it has read it; ``forget`` undoes that, by
        path and size. ``packed``: the bytes of the archive."""
        self._store = store
        self._forget = forget
        self._limits = limits
        self._packed = packed
        self._unpacked = 0
        self._stored: dict[str, tuple[int, bool]] = {}
        """By their paths: the size, and what ``store`` has said."""

    def add(self, path: str, found: SourceFileInfo | None) -> None:
        """Store a file that is found at a path in the archive; None: there is a link. It takes the
        place of a file of this name."""
        former = self._stored.pop(path, None)
        if former is not None:
            self._forget(path, former[0])
        if found is None:
            return
        size = found.size or 0
        if self._limits.refusal(size, self._unpacked, self._packed):
            return
        self._unpacked += size
        self._stored[path] = size, True  # also if it cannot be stored any more
        self._stored[path] = size, self._store(found)

    def take_back(self) -> None:
        """Take back what was read in this run. What a former run had stored is left alone."""
        for path, (size, was_read) in self._stored.items():
            if was_read:
                self._forget(path, size)
        self._stored.clear()
