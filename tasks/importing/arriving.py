"""Reading one file of a source: whole, as it was at one moment, or not at all."""

from __future__ import annotations

import mimetypes
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from regions.content import read_chunks
from tasks.importing.walking import Found, is_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SAMPLE = 4096
"""Bytes at the start of a file that tell whether one without a known suffix is text."""


class Unreadable(Exception):
    """A file that could not be read, or not as a whole."""


class Arrival:
    """An open file on its way into the region."""

    def __init__(self, file: BinaryIO, found: Found, advance: Callable[[int], None]) -> None:
        self._file = file
        self._advance = advance
        self._opened = os.fstat(file.fileno())
        self._begun = False
        self._failure: Unreadable | None = None
        self._name = os.path.basename(found.source)
        self._start = b""
        self.size = self._opened.st_size
        """Bytes, when it was opened."""
        self.mtime_ns = self._opened.st_mtime_ns
        self.whole = False
        """Whether all of it was read, and is what the file is."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the content. Raises Unreadable, at the latest in place of the end, when what was
        read is not the file as it was when it was opened.

        A region that could not store what it got asks again, for the caller's sake; the import
        has no use for content that is not stored, so the second time there is none.
        """
        if self._failure is not None:
            raise self._failure
        if self._begun:
            return
        self._begun = True
        try:
            yield from self._read()
        except OSError as error:
            self._failure = Unreadable(error.strerror or str(error))
            raise self._failure from error
        except Unreadable as error:
            self._failure = error
            raise
        self.whole = True

    def _read(self) -> Iterator[bytes]:
        for chunk in read_chunks(self._file):
            self._start = self._start or chunk[:SAMPLE]
            self._advance(len(chunk))
            yield chunk
        if _version(os.fstat(self._file.fileno())) != _version(self._opened):
            raise Unreadable("changed while it was read")

    @property
    def media_type(self) -> str:
        """Told from the name, or from the start of what was read where the name says nothing."""
        # A leading "./" keeps the name from being taken for a URL ("data:…").
        media_type, encoding = mimetypes.guess_type(f"./{self._name}", strict=False)
        if encoding is not None:
            return _COMPRESSED.get(encoding, "application/octet-stream")
        if media_type is not None:
            return media_type
        return "text/plain" if _is_text(self._start) else "application/octet-stream"


_COMPRESSED = {
    "br": "application/x-brotli",
    "bzip2": "application/x-bzip2",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}


@contextmanager
def arrival(found: Found, root: str, advance: Callable[[int], None]) -> Iterator[Arrival]:
    """Open a file of the folder ``root``; ``advance`` is told of the bytes that are read.

    Raises Unreadable for what is not, or no more, a regular file within ``root``: names may have
    come to mean something else since they were looked at.
    """
    try:
        # Not to wait for ever, should it be a pipe by now.
        descriptor = os.open(found.source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable("is no regular file any more")
        if not is_within(os.readlink(f"/proc/self/fd/{descriptor}"), root):
            raise Unreadable("is a link out of the source")
        yield Arrival(file, found, advance)


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_text(start: bytes) -> bool:
    try:
        start.decode()
    except UnicodeDecodeError as error:
        # The sample may end within a character.
        if len(start) < SAMPLE or error.start < len(start) - 3:
            return False
    return bool(start) and b"\0" not in start
