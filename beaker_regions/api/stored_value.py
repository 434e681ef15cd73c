"""What is stored for a call, without its value."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from beaker_regions.engine.region import Region
    from beaker_regions.entries.entry import Entry
    from beaker_regions.entries.freshness import Policy


class StoredValue(NamedTuple):
    """The stored value of a call: its times and its size."""

    stored_at: float
    """Seconds since the epoch."""
    expires_in: float
    """Seconds; infinity: never."""
    load_seconds: float
    """How long its load took."""
    size: int
    """Bytes of its record; of a file, without its content."""


def stored_value(region: Region, entry: Entry, policy: Policy) -> StoredValue | None:
    """Describe the value that a call would return without a load, except for what it is made of."""
    lookup = region.lookup(entry)
    if lookup is None or lookup.record is None or not lookup.is_current:
        return None
    record = lookup.record
    left = record.stored_at + policy.expire - time.time()
    if left <= 0:
        return None
    return StoredValue(record.stored_at, left, record.load_seconds, len(record.payload))
