"""Archives of formats that the C library libarchive reads, as tars."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from io import UnsupportedOperation
from typing import IO

from tasks.sources.archives import as_tar
from tasks.sources.archives.as_tar import LIBRARY
from tasks.sources.archives.damage import ArchiveError, StreamCutError

_MAGIC = {
    b"7z\xbc\xaf\x27\x1c": ("7zip",),
    b"Rar!\x1a\x07": ("rar", "rar5"),
    b"!<arch>\n": ("ar",),
    b"0707": ("cpio",),
    b"\xc7\x71": ("cpio",),
}
"""How archives begin, and the names that libarchive has for their formats."""
_ISO = 16 * 2048 + 1
"""Where the image of a CD has its magic. Before it is anything that boots."""
_SAID = 1000
"""Characters of a message."""


class Converted:
    """An archive as a tar, which another process makes while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        """Raises ArchiveError if libarchive is not installed."""
        if not _has_libarchive():
            raise ArchiveError(
                "takes the C library libarchive to be unpacked (Debian: apt-get install "
                "libarchive13); --as-file imports it as one file"
            )
        formats = formats_of(file)
        if not formats:
            raise ArchiveError("is damaged: it does not begin as its name says")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `close` does it
        with _in_a_file(file) as source:
            self._process = subprocess.Popen(  # noqa: S603 - with no name from outside
                [_python(), "-I", "-S", as_tar.__file__, *formats],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,  # a lock of a buffer would stay locked in a process that is forked now
                env={"LC_ALL": "C.UTF-8"},
            )

    @staticmethod
    def least(_: IO[bytes], size: int, /) -> int:
        """Return how many bytes it unpacks to at least, about."""
        return size

    def read(self, size: int, /) -> bytes:
        """Read up to ``size`` bytes of the tar. Raises StreamCutError after the last whole file of
        a damaged archive, ArchiveError if nothing may be used."""
        assert self._process.stdout is not None
        if read := self._process.stdout.read(size):
            return read
        status = self._process.wait()
        if status:
            self._errors.seek(0)
            said = self._errors.read().decode("utf-8", "replace").strip()[-_SAID:]
            if status == as_tar.DAMAGED:
                raise StreamCutError(f"is cut short: it cannot be read further ({said})")
            raise ArchiveError(said or "is damaged: libarchive fails at it")
        return b""

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()


def formats_of(file: IO[bytes]) -> tuple[str, ...]:
    """Return the names that libarchive has for the format of an archive; none if it is not one of
    these."""
    file.seek(0)
    start = file.read(8)
    for magic, names in _MAGIC.items():
        if start.startswith(magic):
            return names
    file.seek(_ISO)
    return ("iso9660",) if file.read(5) == b"CD001" else ()


def _has_libarchive() -> bool:
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


def _in_a_file(file: IO[bytes]) -> IO[bytes]:
    """Return a file of the system with this content, with a position of its own."""
    try:
        return open(f"/proc/self/fd/{file.fileno()}", "rb")
    except UnsupportedOperation:
        copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller does it
        file.seek(0)
        shutil.copyfileobj(file, copy)
        copy.seek(0)
        return copy


def _python() -> str:
    """Return the command of this Python. In uWSGI, `sys.executable` is another program."""
    here = os.path.join(sys.prefix, "bin", "python3")
    return here if os.path.exists(here) else sys.executable
