"""Why a call missed, as far as it can be known.

A record that is there shows whether it has expired, or its generations are no longer current. If
there is none, the last load that this host remembers shows more
(`beaker_regions.telemetry.load_memory`). If neither is known, the reason is "unknown".
"""

from __future__ import annotations

import math
import time

from beaker_regions.entries.entry import Entry, Lookup
from beaker_regions.entries.freshness import Policy
from beaker_regions.entries.records import AHEAD
from beaker_regions.telemetry.load_memory import LoadMemory
from beaker_regions.telemetry.sampling import fingerprint

FIRST = "first"
"""No process of this host had loaded the entry."""
EXPIRED = "expired"
INVALIDATED = "invalidated"
"""Or a value that it is made of was; or memcached has evicted one of its generations."""
EVICTED = "evicted"
"""It was stored, has not expired, and is not there: the store made room, or lost it."""
NOT_STORED = "not_stored"
"""The value of the last load was not stored: `store_if`, its size, or a failure."""
BYPASSED = "bypassed"
"""Nothing was looked up: in a transaction, after an own invalidation, or the server is away."""
UNKNOWN = "unknown"

REASONS = {
    FIRST: "first time",
    EXPIRED: "expired",
    INVALIDATED: "invalidated",
    EVICTED: "evicted",
    NOT_STORED: "not stored",
    BYPASSED: "not looked up",
    UNKNOWN: "not known",
}
"""Their names for people, in the order in which they are shown."""
EVENT = "missed."
"""The event of a reason is this and its name."""


def reason(
    memory: LoadMemory, entry: Entry, lookup: Lookup | None, policy: Policy, *, depends: bool
) -> str:
    """Return the reason for which a lookup gave no fresh value. ``depends``: the value names the
    values that it is made of."""
    if lookup is None:
        return BYPASSED
    now, record = time.time(), lookup.record
    if record is None:
        return _of_no_record(memory, entry, lookup, policy, now)
    if record.generations != lookup.generations:
        return INVALIDATED
    age = now - record.stored_at
    if not -AHEAD <= age < policy.expire:
        return EXPIRED
    if depends:
        return INVALIDATED
    return EXPIRED if policy.early else UNKNOWN  # renewed early; or it could not be read


def _of_no_record(
    memory: LoadMemory, entry: Entry, lookup: Lookup, policy: Policy, now: float
) -> str:
    last = memory.last(entry.address)
    if lookup.refused or (last is None and memory.is_taken(entry.address)):
        return UNKNOWN
    if last is None:
        return FIRST
    if last.at is None:
        return NOT_STORED
    if not math.isinf(policy.max_age) and now - last.at >= policy.max_age:
        return EXPIRED
    current = fingerprint(lookup.generations)
    return INVALIDATED if current and current != last.generations else EVICTED
