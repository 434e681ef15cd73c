"""Content that is arriving: in memory at first, then in a growing file that is named by its entry.

So waiting callers see that a load makes progress, however long it takes. If content can be resumed,
the next load of the entry continues the file. The file stays until then, or until the region is
swept.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple

from beaker_regions.entries.content import Resumable, read_chunks
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.runtime.atomic_write import open_plain, reported

SOON = 1.0
"""Seconds after which content that still arrives goes to a file, however small it is."""


class Received(NamedTuple):
    """Content that has arrived completely."""

    size: int
    """Bytes."""
    digest: bytes
    """SHA-256."""
    small: bytes | None
    """Small content; None: it is in the file."""
    file: IO[bytes] | None


class received:  # noqa: N801 a function to those who write ``with received(…)``
    """A block with the content of an entry: up to ``small`` bytes in memory, more in a file in
    ``folder`` that is removed afterwards unless it was moved. ``run`` identifies the boot of the
    machine: bytes written before a restart may never have reached the disk. Raises
    StoreUnavailableError, and the errors of the content."""

    def __init__(
        self,
        folder: Path,
        address: bytes,
        content: Iterable[bytes] | Resumable,
        run: bytes,
        small: int,
    ) -> None:
        self._folder = folder
        self._address = address
        self._content = content
        self._run = run if isinstance(content, Resumable) else None
        self._small = small
        self._in_memory: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._file_from = time.monotonic() + SOON
        self.size = 0
        self.digest = hashlib.sha256()
        self.is_kept = self._run is not None
        """Whether the next load continues it."""

    def __enter__(self) -> Received:
        content = self._content
        try:
            try:
                self._receive()
            except StoreUnavailableError:
                self.is_kept = False
                raise
            self.is_kept = False
            if isinstance(content, Resumable):
                content.verify(self.size, self.digest.hexdigest())
            return self._result()
        except BaseException:
            self._close()
            raise

    def __exit__(self, *_: object) -> None:
        self._close()

    def _receive(self) -> None:
        """Append content to the part that an earlier load has left."""
        content = self._content
        if not isinstance(content, Resumable):
            for chunk in content:
                self._add(chunk)
            return
        with reported("write"):
            self._file = None if content.is_whole else self._continued(0)
            if self._file is not None:
                for chunk in read_chunks(self._file):
                    self._count(chunk)
        for position, chunk in content.pieces(self.size):
            if position != self.size:
                self._begin_again()
            self._add(chunk)

    def _add(self, chunk: bytes) -> None:
        self._count(chunk)
        if self._file is None:
            self._in_memory.append(bytes(chunk))
            if self.size > self._small or time.monotonic() > self._file_from:
                self._open()
        else:
            with reported("write"):
                self._file.write(chunk)

    def _count(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.digest.update(chunk)

    def _begin_again(self) -> None:
        self.size, self.digest = 0, hashlib.sha256()
        self._in_memory.clear()
        if self._file is not None:
            with reported("write"):
                self._file.seek(0)
                self._file.truncate()

    def _open(self) -> None:
        """Go on in a file."""
        with reported("write"):
            file = self._continued(os.O_CREAT)
            if file is not None and (size := os.fstat(file.fileno()).st_size):
                if size > self.size:
                    file.close()  # another load of the entry has got further since
                    file = None
                else:
                    # Not an empty one: ext4 writes a file that was truncated when it is closed.
                    file.truncate(0)
            # With a random name, no load continues it.
            self.is_kept = self.is_kept and file is not None
            self._file = file or self._opened(os.urandom(8).hex(), os.O_CREAT)
            self._file.writelines(self._in_memory)
        self._in_memory.clear()

    def _continued(self, flags: int) -> IO[bytes] | None:
        """Open the file that loads of the entry continue; None if there is none, or another load
        has it, or has just finished it, or nobody can resume the content."""
        if self._run is None:
            return None
        try:
            file = self._opened(self._run.hex(), flags)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), os.stat(file.name)):
                return file
        except (BlockingIOError, FileNotFoundError):
            pass
        file.close()
        return None

    def _opened(self, name: str, flags: int) -> IO[bytes]:
        """Open a file of the entry for reading and writing, without truncating it."""
        path = f"{self._folder}/{self._address.hex()}-{name}"
        return open(path, "r+b", opener=lambda path, mode: open_plain(path, mode | flags))

    def _result(self) -> Received:
        """Return the content, now that all of it is there."""
        small = None
        if self._file is None:
            small = b"".join(self._in_memory)
        else:
            with reported("write"):
                self._file.flush()
                if self.size <= self._small:
                    self._file.seek(0)
                    small = self._file.read()
        return Received(self.size, self.digest.digest(), small, self._file)

    def _close(self) -> None:
        """Close the file, and remove it unless the next load continues it."""
        # All bytes of a whole content are written by now; errors of writing were raised.
        if self.is_kept and self._in_memory:
            with contextlib.suppress(StoreUnavailableError):
                self._open()
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            # Closing is not enough if a fork has copied the descriptor.
            fcntl.flock(self._file, fcntl.LOCK_UN)
        with contextlib.suppress(OSError):
            self._file.close()
        if not self.is_kept:
            with contextlib.suppress(OSError):
                os.unlink(self._file.name)


def parts_in(folder: Path, run: bytes) -> frozenset[bytes]:
    """Return the addresses of entries whose loads would continue a file in this boot (``run``) of
    the machine."""
    try:
        names = os.listdir(folder)
    except OSError:
        return frozenset()
    end = f"-{run.hex()}"
    return frozenset(bytes.fromhex(name.removesuffix(end)) for name in names if name.endswith(end))


def is_growing(folder: Path, address: bytes, seconds: float) -> bool:
    """Whether some content of the entry has arrived in the last ``seconds``. Raises OSError."""
    since = time.time() - seconds
    # Both the folder and any of its files may be gone by now.
    for path in folder.glob(f"{address.hex()}-*"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime > since:
                return True
    return False
