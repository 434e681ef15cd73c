"""For how long a value is served.

What is configured now counts, for entries that are stored already too: whoever changes a number
sees what it does from the next call on. A record's own ``expire`` is what its writer had
configured; it tells the store for how long to keep it, and sweeps when to remove it. So a
shortened expiry holds at once, and a lengthened one holds for every entry that the store still
has. Invalidations have nothing to do with it: no expiry serves what was invalidated.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beaker_regions.entries.records import Record


@dataclass(frozen=True, slots=True)
class Policy:
    """What a function says of its entries."""

    expire: float
    """Seconds; infinity: never."""
    grace: float
    """Seconds after ``expire`` for which the old value is served while one caller loads."""
    early: float = 0.0
    """How eagerly a value is renewed before it expires; 0: never, 1: as early as is best."""
    store_if: Callable[[Any], bool] | None = None
    """Whether a loaded value is worth storing."""

    @property
    def usable_for(self) -> float:
        """How many seconds after it was stored a record may be served while, or because, no new
        value is to be had."""
        return self.expire + self.grace

    def head_start(self, record: Record) -> float:
        """Return how many seconds before its expiry a value counts as expired, this once. The
        number is random, and rarely large. So one of many callers renews the value in time, and the
        others are served as before.

        XFetch: Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede
        Prevention", PVLDB 8(8), 2015.
        """
        return -record.load_seconds * self.early * math.log(1.0 - random.random())
