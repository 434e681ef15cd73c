"""Content that is arriving: in a growing file that is named by its entry.

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
from typing import IO, TYPE_CHECKING, NamedTuple

from beaker_regions.entries.content import Resumable, read_chunks
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.runtime.atomic_write import reported

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class Received(NamedTuple):
    """Content that has arrived completely."""

    file: IO[bytes]
    size: int
    """Bytes."""
    digest: bytes
    """SHA-256."""


@contextlib.contextmanager
def received(
    folder: Path, address: bytes, content: Iterable[bytes] | Resumable, run: bytes
) -> Iterator[Received]:
    """Yield the content of an entry, in a file in ``folder`` that is removed afterwards unless it
    was moved. ``run`` identifies the boot of the machine: bytes written before a restart may never
    have reached the disk. Raises StoreUnavailableError, and the errors of the content."""
    with reported("write"):
        file = None
        if isinstance(content, Resumable):
            file = _continued(folder, f"{address.hex()}-{run.hex()}")
        if file is None:
            # With a random name, so no load continues it.
            file = _opened(folder, f"{address.hex()}-{os.urandom(8).hex()}")
    keep = False
    try:
        try:
            size, digest = _receive(content, file)
        except StoreUnavailableError:
            raise
        except BaseException:
            keep = isinstance(content, Resumable)
            raise
        if isinstance(content, Resumable):
            content.verify(size, digest.hex())
        yield Received(file, size, digest)
    finally:
        # All bytes are written by now; errors of writing were raised above.
        with contextlib.suppress(OSError):
            # Closing is not enough if a fork has copied the descriptor.
            fcntl.flock(file, fcntl.LOCK_UN)
        with contextlib.suppress(OSError):
            file.close()
        if not keep:
            with contextlib.suppress(OSError):
                os.unlink(file.name)


def is_growing(folder: Path, address: bytes, seconds: float) -> bool:
    """Whether some content of the entry has arrived in the last ``seconds``. Raises OSError."""
    since = time.time() - seconds
    # Both the folder and any of its files may be gone by now.
    for path in folder.glob(f"{address.hex()}-*"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime > since:
                return True
    return False


def _receive(content: Iterable[bytes] | Resumable, file: IO[bytes]) -> tuple[int, bytes]:
    """Append content to the part that a file already has; return its size and its SHA-256."""
    size, digest = 0, hashlib.sha256()
    with reported("write"):
        for chunk in read_chunks(file):
            size += len(chunk)
            digest.update(chunk)
    pieces = content.pieces(size) if isinstance(content, Resumable) else _in_turn(content)
    for position, chunk in pieces:
        with reported("write"):
            if position != size:
                file.seek(0)
                file.truncate()
                size, digest = 0, hashlib.sha256()
            file.write(chunk)
        size += len(chunk)
        digest.update(chunk)
    with reported("write"):
        file.flush()
    return size, digest.digest()


def _in_turn(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    size = 0
    for chunk in chunks:
        yield size, chunk
        size += len(chunk)


def _continued(folder: Path, name: str) -> IO[bytes] | None:
    """Open a file that may exist; None if another load has it, or has just finished it."""
    file = _opened(folder, name)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), os.stat(file.name)):
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None


def _opened(folder: Path, name: str) -> IO[bytes]:
    """Open a file for reading and writing, without truncating it."""

    def opener(path: str, flags: int) -> int:
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o660)

    path = str(folder / name)
    try:
        return open(path, "r+b", opener=opener)
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        return open(path, "r+b", opener=opener)
