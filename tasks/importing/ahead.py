"""Requests of downloads. That of the next file is sent before the one that has arrived is stored:
the server and this process then work at the same time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tasks.files.content import read_file
from tasks.sources.fetching.downloads import Download
from tasks.sources.fetching.urls import is_url
from tasks.sources.pace import is_limited

if TYPE_CHECKING:
    from tasks.importing.sources import SourceFileInfo
    from tasks.sources.progress import Progress


class Ahead:
    """The downloads of a list of files, which several threads read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[SourceFileInfo, Progress]] = {}
        self._begun: dict[str, Download | None] = {}

    def expect(self, files: list[tuple[SourceFileInfo, Progress]]) -> None:
        """These files are read next, in this order."""
        files = [file for file in files if is_url(file[0].source)]
        parts = read_file.have_parts(
            [(found.source, found.size, found.version) for found, _ in files]
        )
        for (found, progress), has_part in zip(files, parts, strict=True):
            if has_part:
                self._begun[found.path] = None
            else:
                self._waiting[found.path] = found, progress

    def take(self, found: SourceFileInfo, progress: Progress) -> Download | None:
        """Return the download of a file, whose request was sent; None for a file that is not at a
        URL, or of which a part has arrived that has to be continued."""
        if not is_url(found.source):
            return None
        with self._lock:
            if found.path not in self._begun and found.path not in self._waiting:
                self.expect([(found, progress)])
            if self._waiting.pop(found.path, None) is None:
                return self._begun.pop(found.path)
        return _begun(found, progress)

    def begin_next(self) -> None:
        """Send the request of the next file. The caller has just received one whole, so there are
        never more requests than threads."""
        if is_limited():
            return  # it would arrive sooner than it may
        with self._lock:
            for path, (found, progress) in self._waiting.items():
                self._begun[path] = _begun(found, progress)
                del self._waiting[path]
                return


def _begun(found: SourceFileInfo, progress: Progress) -> Download:
    download = found.opener(found.source, found.size, found.version, progress)
    assert isinstance(download, Download)
    download.begin()
    return download
