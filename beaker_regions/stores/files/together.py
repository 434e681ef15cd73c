"""Small content that many calls store, and that is synced once for all of them.

A sync takes about as long for thousands of files as for one, and a file that is stored alone takes
four. Until the sync, a loss of power may leave a record without its content, or half of either. The
record is authenticated as a whole, and the digest of its content is checked after a restart. So an
entry is whole or absent at any time, and all of them are on disk when `FilesTogether.sync` returns.
"""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import AbstractContextManager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from beaker_regions.engine.store import Together
from beaker_regions.runtime.atomic_write import reported
from beaker_regions.stores.files.eviction import SizeLimit

_joined: ContextVar[FilesTogether | None] = ContextVar("_joined", default=None)
_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


class FilesTogether(Together):
    """What is stored in one store within `joined`, by any thread."""

    def __init__(
        self, store: object, folder: Path, limit: SizeLimit | None, *, durable: bool
    ) -> None:
        self.store = store
        self._folder = folder
        self._limit = limit
        self._durable = durable
        self._lock = threading.Lock()
        self._grown = 0

    def joined(self) -> AbstractContextManager[None]:
        return _Joined(self)

    def grew(self, size: int) -> None:
        with self._lock:
            self._grown += size

    def take(self) -> int:
        with self._lock:
            grown, self._grown = self._grown, 0
        return grown

    def count(self) -> None:
        grown = self.take()
        if grown and self._limit is not None:
            self._limit.grew(grown)

    def sync(self) -> None:
        self.count()
        if self._durable and self._folder.is_dir():
            with reported("write"):
                sync_file_system(str(self._folder))


class _Joined(AbstractContextManager[None]):
    """The block of `FilesTogether.joined`. A generator would take five times as long."""

    def __init__(self, batch: FilesTogether) -> None:
        self._batch = batch

    def __enter__(self) -> None:
        self._token = _joined.set(self._batch)

    def __exit__(self, *_: object) -> None:
        _joined.reset(self._token)


def joined(store: object) -> FilesTogether | None:
    """Return the batch of a store that the running code has joined."""
    batch = _joined.get()
    return batch if batch is not None and batch.store is store else None


def sync_file_system(folder: str) -> None:
    """Bring everything to disk that was written to the file system of ``folder``. Raises OSError if
    something could not be written."""
    if _syncfs is None:
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _syncfs(descriptor):
            number: Any = ctypes.get_errno()
            raise OSError(number, os.strerror(number), folder)
    finally:
        os.close(descriptor)
