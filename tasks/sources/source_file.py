"""Reading a file of a source: either its complete content of one moment, or an error."""

from __future__ import annotations

import os
import stat
from io import FileIO

from tasks.sources.progress import Progress


class SourceChanged(OSError):
    """A name in a source does not stand for the expected content any more."""


class SourceFile(FileIO):
    """A file that is open for reading. It raises an error if it changes before its end is read."""

    def __init__(
        self, name: str, size: int | None, version: str, progress: Progress | None = None
    ) -> None:
        """Open the file ``name``, absolute and without links, of ``size`` bytes (None: any),
        in this version (`file_version`); ``progress`` counts the bytes that are read.

        Raises SourceChanged when it is another one by now, OSError when it cannot be opened.
        """
        super().__init__(name, opener=_open)
        self._progress = progress
        self._opened = os.fstat(self.fileno())
        try:
            if not stat.S_ISREG(self._opened.st_mode):
                raise SourceChanged("is no regular file any more")
            if os.readlink(f"/proc/self/fd/{self.fileno()}") != name:
                raise SourceChanged("is reached over a link by now, or gone")
            if file_version(self._opened) != version or size not in (None, self.size):
                raise SourceChanged("has changed")
        except BaseException:
            self.close()
            raise

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to ``size`` bytes. Raises SourceChanged in place of the end when what was read
        is not the file as it was when it was opened."""
        chunk = super().read(-1 if size is None else size)
        if not chunk:
            self.verify()
        elif self._progress is not None:
            self._progress.advance(len(chunk))
        return chunk

    @property
    def size(self) -> int:
        """Bytes, when it was opened."""
        return self._opened.st_size

    def verify(self) -> None:
        """Raise SourceChanged if the file has changed since it was opened."""
        if _state(os.fstat(self.fileno())) != _state(self._opened):
            raise SourceChanged("changed while it was read")


def file_version(status: os.stat_result) -> str:
    """Return what tells a file's contents of one size apart: when it was last changed, in
    nanoseconds since the epoch."""
    return str(status.st_mtime_ns)


def _open(name: str, flags: int) -> int:
    # The name may be a pipe by now: O_NONBLOCK keeps the call from waiting for ever.
    return os.open(name, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind_of(mode: int) -> str:
    """Return the words for the kind of file that a mode means."""
    return _KINDS.get(stat.S_IFMT(mode), "something special")
