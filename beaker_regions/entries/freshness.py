"""For how long a value is served.

The present configuration counts, even for entries that are stored already: a changed number takes
effect at the next call. A record's own ``expire`` is the number that its writer had configured. It
tells the store how long to keep the record, and maintenance when to remove it. So a shorter expiry
takes effect at once, and a longer one for every entry that the store still has. Invalidations are
independent of this: an invalidated value is never served, even before its expiry.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from beaker_regions.entries.records import Record

DEPENDS_ON = ("tags", "expiry")
"""What ends the life of a value: its tags and its expiry, or its expiry alone; the value may then
be older than the rows that it was made of."""
QUERIES = "queries"
"""For functions alone: the tables that were read during the load, its tags, and its expiry."""


def dependence(value: object, expire: float, among: tuple[str, ...] = DEPENDS_ON) -> str:
    """Return the value of an option ``depends_on``, one of ``among``. Raises ValueError."""
    if not isinstance(value, str) or value not in among:
        raise ValueError(f"write {' or '.join(map(repr, among))}")
    if value == "expiry" and math.isinf(expire):
        raise ValueError("such values never expire; give a number of seconds as expire=")
    return value


@dataclass(frozen=True, slots=True)
class Policy:
    """For how long the values of a function are served, and which are stored."""

    expire: float
    """Seconds; infinity: never."""
    grace: float
    """Seconds after ``expire`` for which the old value is served while one caller loads."""
    early: float = 0.0
    """How early a value is renewed before it expires; 0: never early, 1: the best time."""
    store_if: Callable[[Any], bool] | None = None
    """Whether a loaded value is worth storing."""
    depends_on: str = "tags"
    """One of `DEPENDS_ON`, or `QUERIES`."""
    shared: bool = False
    """Whether no caller changes a value, so several may get the same object."""

    @property
    def max_age(self) -> float:
        """How many seconds after it was stored a record may be served, during a load or after a
        failed one."""
        return self.expire + self.grace

    def head_start(self, record: Record) -> float:
        """Return how many seconds before its expiry a value counts as expired, this once. The
        number is random, and rarely large. So one of many callers renews the value in time, and the
        others are served as before.

        XFetch: Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede
        Prevention", PVLDB 8(8), 2015.
        """
        return -record.load_seconds * self.early * math.log(1.0 - random.random())
