"""Compare-and-set of a record in a file: replace it if it is still the one that was read.

A record contains its time and is sealed, so no two records have the same bytes. The bytes are
compared and replaced under a lock. Readers need no lock.
"""

from __future__ import annotations

import contextlib
from typing import Any

from beaker_regions.engine.store import LookupForUpdate, Store
from beaker_regions.entries.entry import Entry
from beaker_regions.entries.records import Record
from beaker_regions.runtime.atomic_write import reported, unlinked
from beaker_regions.runtime.flock import locked


class FileCompareAndSet:
    """Compare-and-set for one store, with its locks in ``folder``."""

    def __init__(self, store: Store, folder: str) -> None:
        self._store = store
        self._folder = folder

    def get_for_update(self, entry: Entry, path: str) -> LookupForUpdate:
        """As `Store.get_for_update`, of the record at ``path``."""
        # Read the bytes first: `compare_and_set` then notices every later change.
        sealed = _sealed(path)
        return LookupForUpdate(self._store.read_for_load(entry), sealed)

    def compare_and_set(
        self,
        entry: Entry,
        path: str,
        value: Any,
        record: Record,
        ttl: float,
        seen: LookupForUpdate | None,
    ) -> bool:
        """As `Store.compare_and_set`, of the record at ``path``."""
        with contextlib.ExitStack() as lock:
            with reported("write"):
                lock.enter_context(locked(f"{self._folder}/{entry.address.hex()[:2]}"))
            if seen is not None and _sealed(path) != seen.token:
                return False
            # Not in `reported`: an OSError while the value is pickled is the application's.
            self._store.write(entry, value, record, ttl)
        return True


def _sealed(path: str) -> bytes | None:
    with (
        reported("read"),
        contextlib.suppress(FileNotFoundError),
        open(path, "rb", opener=unlinked) as file,
    ):
        return file.read()
    return None
