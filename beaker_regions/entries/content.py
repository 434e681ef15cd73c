"""Content that lies in a file: given by a function, handed to callers, not held in memory unless it
is small."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from io import BufferedIOBase, BufferedReader, BytesIO, FileIO, RawIOBase
from pathlib import Path
from typing import IO, Any, BinaryIO

from beaker_regions.errors import NotContentError
from beaker_regions.runtime.atomic_write import open_plain

CHUNK = 1024 * 1024
"""Bytes copied at a time."""


class Resumable(ABC):
    """Content whose transfer can be resumed. A cached function returns a subclass's instance.

    If a transfer is interrupted, even by a crash, the bytes received are kept. The next load of
    the same call continues from them.

    Example::

        class Download(Resumable):
            def pieces(self, have): ...  # request the bytes from ``have`` on
            def verify(self, size, digest): ...
    """

    is_whole = False
    """Whether all of it is at hand. Then the bytes of an earlier transfer are not looked for."""

    @abstractmethod
    def pieces(self, have: int) -> Iterator[tuple[int, bytes]]:
        """Yield the content in chunks, from a position on.

        Args:
            have: The number of bytes received earlier.

        Yields:
            The position of a chunk, and its bytes. The position 0 discards the earlier bytes.

        Raises:
            OSError: The transfer was interrupted.
        """

    @abstractmethod
    def verify(self, size: int, digest: str) -> None:
        """Check the received content. If it is wrong, it is neither stored nor continued.

        Args:
            size: The number of bytes received.
            digest: Their SHA-256, in hexadecimal.

        Raises:
            OSError: This is not the whole content.
        """

    def chunks(self) -> Iterator[bytes]:
        """Yield the whole content, without resuming. Raises OSError."""
        size, digest = 0, hashlib.sha256()
        for position, chunk in self.pieces(0):
            if position != size:
                raise OSError("began again while it was read")
            yield chunk
            size += len(chunk)
            digest.update(chunk)
        self.verify(size, digest.hexdigest())


class CachedFile(os.PathLike[str]):
    """Content that a region of files returns.

    The file stays open as long as this object lives. So it stays readable after its entry was
    invalidated or replaced.

    Example::

        with cached.open() as file:
            header = file.read(16)
    """

    descriptor: int | None = None  # also if `__init__` has failed
    in_memory = False
    """Whether it is in memory, because it is small. It then gets a file of its own when `path` is
    first asked for."""

    def __init__(
        self,
        path: str,
        descriptor: int | None,
        stored_at: float,
        *,
        size: int,
        digest: str | None,
        stored: bool = True,
    ) -> None:
        self._path = path
        self.descriptor = descriptor
        self.stored_at = stored_at
        """Seconds since the epoch."""
        self.size = size
        """Bytes."""
        self.stored = stored
        """False when the region could not take the content; it was loaded anyway."""
        self._digest = digest

    @property
    def path(self) -> Path:
        """The raw content as a file: in the region's folder, or at its source if it is not
        stored. Raises OSError if small content cannot be written to one."""
        return Path(self._path)

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hexadecimal."""
        if self._digest is None:
            with self.open() as file:
                self._digest = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digest

    def open(self) -> BufferedReader:
        """Open the content for reading from its start. Each opened file has its own position."""
        if self.descriptor is None:
            return open(self._path, "rb", opener=open_plain if self.stored else None)
        with contextlib.ExitStack() as failed:
            try:
                # A new description of the very file that was found, even if its name is gone.
                file = failed.enter_context(open(_descriptor_path(self.descriptor), "rb"))
                hold(file.fileno())
            except OSError:
                # A file that was removed from a network's file system cannot be opened again.
                return BufferedReader(_Positioned(os.dup(self.descriptor)))
            failed.pop_all()
        return file

    def read_bytes(self) -> bytes:
        """Return the whole content in memory. Raises OSError if it cannot be read."""
        if self.descriptor is None:
            with self.open() as file:
                return file.read()
        content = os.pread(self.descriptor, self.size, 0)
        # One call reads 2 GB at the most.
        while more := os.pread(self.descriptor, self.size - len(content), len(content)):
            content += more
        return content

    def chunks(self) -> Iterator[bytes]:
        """Yield the content in chunks of at most `CHUNK` bytes."""
        with self.open() as file:
            yield from read_chunks(file)

    def close(self) -> None:
        """Close the file. From then on it can be opened by its path only."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            # A network's file system may fail here, too; it is closed anyway.
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def __fspath__(self) -> str:
        return self._path

    def __del__(self) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("a CachedFile belongs to its process; pickle its path or its content")

    def __repr__(self) -> str:
        return f"<CachedFile {self.size} bytes, at {self._path}>"


class SmallCachedFile(CachedFile):
    """Content in memory, a part of its record. ``place`` writes it to a path, unless it is
    there."""

    in_memory = True

    def __init__(
        self,
        path: str,
        content: bytes | memoryview,
        stored_at: float,
        digest: str,
        place: Callable[[str, bytes], None],
    ) -> None:
        super().__init__(path, None, stored_at, size=len(content), digest=digest)
        self._content = content
        self._place = place

    @property
    def path(self) -> Path:
        self._place(self._path, self.read_bytes())
        return Path(self._path)

    def open(self) -> BufferedReader:
        return BufferedReader(BytesIO(self._content))

    def read_bytes(self) -> bytes:
        return bytes(self._content)

    def __fspath__(self) -> str:
        return str(self.path)


Content = Path | BinaryIO | Iterator[bytes] | Resumable | CachedFile
"""The results of a function that a region of files streams into a file, and returns as a
`CachedFile`."""


def hold(descriptor: int) -> None:
    """Let an open file stay readable if another host removes it. Raises OSError if it is removed.

    A client of GlusterFS reports an open file to the server only when it asks the server for
    something. It answers most requests from its own memory, but not this one.
    """
    try:
        os.lseek(descriptor, 0, os.SEEK_DATA)
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.EINVAL):  # empty; a file system without
            raise
    os.lseek(descriptor, 0, os.SEEK_SET)


class _Positioned(RawIOBase):
    """An open file that is read from a position of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (0, self._at, os.fstat(self._descriptor).st_size)[whence]
        return self._at

    def close(self) -> None:
        if not self.closed:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
        super().close()


def is_content(value: object) -> bool:
    """Whether a function's result is content to be streamed rather than a value to be pickled."""
    return isinstance(value, Path | RawIOBase | BufferedIOBase | Iterator | CachedFile | Resumable)


def is_spent(value: object) -> bool:
    """Whether content that a caller began to read cannot be read again."""
    return is_content(value) and not isinstance(value, Path | CachedFile | Resumable)


def content_chunks(value: Any) -> Iterator[bytes]:
    """Yield the bytes of content in chunks; an open file is read from its position on, and
    closed. Raises OSError when it cannot be read, NotContentError for chunks that are not bytes."""
    if isinstance(value, Path):
        with open(value, "rb") as file:
            yield from read_chunks(file)
    elif isinstance(value, CachedFile | Resumable):
        yield from value.chunks()
    elif isinstance(value, RawIOBase | BufferedIOBase):
        with value:
            yield from read_chunks(value)
    else:
        for chunk in value:
            if not isinstance(chunk, bytes | bytearray | memoryview):
                raise NotContentError(
                    f"an iterator of {type(chunk).__name__} can be read once, by one caller; "
                    f"return a list instead, or yield bytes: content that a region of type 'file' "
                    f"keeps"
                )
            yield bytes(chunk)


def read_chunks(file: IO[bytes] | RawIOBase | BufferedIOBase) -> Iterator[bytes]:
    """Yield what is left of an open file in chunks of at most `CHUNK` bytes."""
    while chunk := file.read(CHUNK):
        yield chunk


def keep_open(value: Any) -> CachedFile:
    """Return content that is not stored: a file itself, other content in a temporary file that
    has no name. Raises OSError when it cannot be read."""
    if isinstance(value, CachedFile):
        return value
    if isinstance(value, Path):
        descriptor, path = os.open(value, os.O_RDONLY | os.O_CLOEXEC), str(value)
    else:
        with value if _is_whole_file(value) else tempfile.TemporaryFile() as file:
            if file is not value:
                file.writelines(content_chunks(value))
                file.flush()
            descriptor = os.dup(file.fileno())
        path = _descriptor_path(descriptor)
    size = os.fstat(descriptor).st_size
    return CachedFile(path, descriptor, time.time(), size=size, digest=None, stored=False)


def _is_whole_file(value: Any) -> bool:
    """Whether content is an open file, not yet read: its gigabytes need no copy."""
    plain = isinstance(getattr(value, "raw", value), FileIO)
    return plain and value.seekable() and value.tell() == 0


def _descriptor_path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
