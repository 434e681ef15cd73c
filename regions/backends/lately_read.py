"""Records of content that this process has read a moment ago, so that a hit opens one file.

What is remembered counts as what is read does: while it carries the generations that are current
and has not expired. That a later one has taken its place meanwhile, renewed early or after an
eviction, makes it no less so; and who wants the latest (`regions.store.Store.begin`) reads that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regions.records import Record

MOST = 8192
"""Records, of some 500 bytes each."""
READ_AGAIN = 1.0
"""Seconds; then the record's file says that it is used, whether it is still there, and what it
says now."""


class LatelyRead:
    """Records by the addresses of their entries; all threads of the process use it."""

    def __init__(self) -> None:
        self._records: dict[bytes, tuple[float, Record]] = {}

    def get(self, address: bytes, generations: tuple[bytes | None, ...]) -> Record | None:
        """Return an entry's record if it counts under ``generations``."""
        known = self._records.get(address)
        if known is None:
            return None
        until, record = known
        return record if record.generations == generations and time.time() < until else None

    def keep(self, address: bytes, record: Record) -> None:
        """Remember what has been read."""
        if len(self._records) >= MOST:
            self._records.clear()
        until = min(time.time() + READ_AGAIN, record.stored_at + record.expire)
        self._records[address] = until, record

    def forget(self, address: bytes) -> None:
        """Let an entry's record be read."""
        self._records.pop(address, None)
