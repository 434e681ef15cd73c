"""Reading a file of a source: either its complete content of one moment, or an error."""

from __future__ import annotations

import os
import stat
from io import FileIO

from tasks.sources.checks import Check
from tasks.sources.progress import Progress
from tasks.sources.versions import digest_of


class SourceChangedError(OSError):
    """A name in a source does not stand for the expected content any more."""


class SourceFile(FileIO):
    """A file that is open for reading. It raises an error if it changes before its end is read."""

    def __init__(
        self, name: str, size: int | None, version: str, progress: Progress | None = None
    ) -> None:
        """Open the file ``name``, absolute and without links, of ``size`` bytes (None: any),
        in this version (`file_version`, or the digest of a manifest); ``progress`` counts the bytes
        that are read.

        Raises SourceChangedError if the file is another one, OSError if it cannot be opened.
        """
        super().__init__(name, opener=_open)
        self._progress = progress
        self._opened = os.fstat(self.fileno())
        expected = digest_of(version)
        self._check = None if expected is None else Check(*expected)
        try:
            if not stat.S_ISREG(self._opened.st_mode):
                raise SourceChangedError("is no regular file any more")
            if os.readlink(f"/proc/self/fd/{self.fileno()}") != name:
                raise SourceChangedError("is gone, or behind a symbolic link now")
            changed = expected is None and file_version(self._opened) != version
            if changed or size not in (None, self.size):
                raise SourceChangedError("has changed")
        except BaseException:
            self.close()
            raise

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to ``size`` bytes. At the end, raises SourceChangedError if the file has changed
        since it was opened."""
        # The memory for a whole chunk would be taken and given back for each small file.
        most = -1 if size is None else min(size, self.size + 1)
        chunk = super().read(most)
        if self._check is not None:
            self._check.update(chunk)
        if not chunk:
            self.verify()
            if self._check is not None:
                self._check.verify()
        elif self._progress is not None:
            self._progress.advance(len(chunk))
        return chunk

    def reopen(self) -> None:
        """Take a position of its own, the same, in a process that was forked from another."""
        position = self.tell()
        again = os.open(f"/proc/self/fd/{self.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(again, self.fileno(), inheritable=False)
        os.close(again)
        self.seek(position)

    @property
    def size(self) -> int:
        """Bytes at the time of opening."""
        return self._opened.st_size

    def verify(self) -> None:
        """Raise SourceChangedError if the file has changed since it was opened."""
        if _state(os.fstat(self.fileno())) != _state(self._opened):
            raise SourceChangedError("changed while it was read")


def file_version(status: os.stat_result) -> str:
    """Return the version of a file's content: the time of its last change, in nanoseconds since the
    epoch."""
    return str(status.st_mtime_ns)


def _open(name: str, flags: int) -> int:
    # The name may have become a pipe; O_NONBLOCK keeps the call from waiting forever.
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
    """Return a mode's kind of file in words."""
    return _KINDS.get(stat.S_IFMT(mode), "something special")
