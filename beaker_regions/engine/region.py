"""Reading: how a call becomes a hit, a load, or a wait for another caller's load.

**Why no read is stale.** A load takes the current generations of its entry's scopes *before* it
runs, and its record carries them. A hit fetches the record and the generations together, and needs
them to be equal. An invalidation replaces a generation by a new random one. So if a record is
current after an invalidation, its load began after it. A value that was being loaded or stored
during the invalidation carries a generation that is never current again. Evictions and restarts
only remove generations, and no record is current under a missing one. An invalidation is one
moment, however many entries it covers: no load that is stored begins between the change of one
generation and that of another, so no value is made of an older one
(`beaker_regions.stores.servers.generations`). This needs no lease, and no host's clock.

A caller that waits for a load may take a record that was invalidated since, if it was current at
some moment of the call. It reads no older value than a hit at that moment would
(`beaker_regions.engine.waiting`).

**Leases** only save work (`beaker_regions.engine.loading`): the holder of an entry's lease loads,
other callers read again at intervals (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013,
section 3.2). A lease that ran out, was lost or could not be taken costs a second load, and nothing
else.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

from beaker_regions.config.options import ATOMIC_TYPES_TEXT, RegionOptions
from beaker_regions.engine import invalidation
from beaker_regions.engine.bypass import block, is_bypassed
from beaker_regions.engine.expiring_set import ExpiringSet
from beaker_regions.engine.reads import current_reads
from beaker_regions.engine.store import GoneError, Reading, Store, Together
from beaker_regions.engine.transactions import Invalidation
from beaker_regions.entries.entry import Entry, Lookup, region_scope
from beaker_regions.entries.freshness import Policy
from beaker_regions.entries.known import Known
from beaker_regions.entries.records import AHEAD, Record
from beaker_regions.entries.sentinels import MISSING, UNKNOWN
from beaker_regions.errors import ConfigurationError, StoreUnavailableError
from beaker_regions.runtime.interruptions import is_interruption
from beaker_regions.telemetry.recorder import Stats

METRICS = ".metrics"
"""The folder in data_dir for what all processes count; no region can have this name."""

REFUSED = (
    "the stored bytes are not a record of this application; if they are those of another process "
    "of it, give both the same secret (cache.secret)"
)
"""What the log says of a refused record."""

_regions: WeakSet[Region] = WeakSet()


def all_regions() -> list[Region]:
    """Return every region of this process, by name."""
    return sorted(_regions, key=lambda region: region.name)


def regions_named(name: str) -> list[Region]:
    """Return the regions of this process that have this name: more than one if there are several
    managers."""
    return [region for region in all_regions() if region.name == name]


class Region:
    """One configured region: its options, its store, and how entries are looked up.

    ``cache["functions"]`` is one. Applications use its `name`, `enabled` and `folder`, and
    `invalidate_everything`.
    """

    def __init__(self, options: RegionOptions, store: Store) -> None:
        self.options = options
        self.name = options.name
        self.store = store
        self.enabled = options.enabled
        self.lease = options.lease
        self.functions: dict[str, Any] = {}
        """Its decorated functions, by name."""
        self.policies: dict[str, Policy] = {}
        """For how long values are served, by the name of the function or the page."""
        self.metrics = options.data_dir and options.data_dir / METRICS
        """Where all processes share their counts (`beaker_regions.reports.metrics`); None: they do
        not share them."""
        self.siblings: Mapping[str, Region] = {self.name: self}
        """The regions of its manager, by name."""
        self.stats = Stats(options.name, self.metrics)
        self.not_stored = ExpiringSet()
        """Entries whose value was loaded here and not stored: unwanted, too large, or refused."""
        self.failed = ExpiringSet()
        """Entries whose load failed here while there was an old value to serve."""
        store.generation_store.cover(region_scope(options.name))
        _regions.add(self)

    @property
    def folder(self) -> Path | None:
        """The folder of the region's entries; None if they are not in a folder."""
        return self.store.folder

    def together(self) -> Together:
        """Return an object that brings many values to disk at once. Files that are stored one by
        one are also synced one by one, and that takes most of the time.

        Example::

            together = cache["files"].together()
            with together.joined():
                for name in names:
                    read_file(name)
            together.sync()
        """
        return self.store.together()

    def longest_grace(self) -> float:
        """Return the seconds after its expiry for which some value of this region may be served."""
        graces = [policy.grace for policy in list(self.policies.values())]
        return max([self.options.grace, *graces])

    def require_atomic(self, what: str) -> None:
        """Raise ConfigurationError if the store has no atomic changes, which ``what`` needs."""
        if self.store.counters is None:
            raise ConfigurationError(
                f"region {self.name!r}: type = {self.options.type!r}: {what} cannot be kept there, "
                f"which only gets and sets; use a region of type {ATOMIC_TYPES_TEXT}"
            )

    # -- lookups ---------------------------------------------------------------------------

    def lookup(self, entry: Entry, ask: Callable[[Entry], Lookup] | None = None) -> Lookup | None:
        """Look up an entry, by the store's `read` or by ``ask``. Returns None if the store is
        unavailable, if this thread has a pending invalidation of the entry, or if this process may
        have missed another host's. The caller then neither uses nor stores cached data."""
        if not self._may_be_read():
            self.stats.count("bypassed", entry.function)
            return None
        pending = invalidation.pending()
        if pending and self._is_pending(entry, pending):
            return None
        if block.get() is not None and self._is_bypassed(entry):
            return None
        noted = current_reads()
        if noted is not None:
            noted.note_entry(self, entry)
        try:
            lookup = (ask or self.store.read)(entry)
        except StoreUnavailableError as error:
            self._unavailable(entry, error)
            return None
        return self._checked(entry, lookup) if lookup.refused else lookup

    def lookup_many(self, entries: Sequence[Entry]) -> list[Lookup | None]:
        """As `lookup`, for many entries: one round trip to each server."""
        if not self._may_be_read():
            for entry in entries:
                self.stats.count("bypassed", entry.function)
            return [None] * len(entries)
        wanted: Sequence[Entry] = entries
        pending = invalidation.pending()
        if pending:
            wanted = [entry for entry in entries if not self._is_pending(entry, pending)]
        if block.get() is not None:
            wanted = [entry for entry in wanted if not self._is_bypassed(entry)]
        noted = current_reads()
        if noted is not None:
            for entry in wanted:
                noted.note_entry(self, entry)
        lookups: dict[Entry, Lookup | None] = {}
        for entry, found in zip(wanted, self.store.read_many(wanted), strict=True):
            if isinstance(found, StoreUnavailableError):
                self.fault(entry, found.kind, found)
            else:
                lookups[entry] = self._checked(entry, found)
        return [lookups.get(entry) for entry in entries]

    def begin_lookup(self, entry: Entry) -> Reading | None:
        """Begin `lookup` for a task of the running event loop, without waiting. Returns None if
        a thread has to do it, because more is needed than a read."""
        if (
            current_reads() is not None
            or block.get() is not None
            or not invalidation.transactions.may_look_up_in_loop()
            or not invalidation.pending().isdisjoint(entry.scopes)
        ):
            return None
        return self.store.begin_read(entry)

    def end_lookup(self, entry: Entry, reading: Reading) -> Lookup | None:
        """Return what `begin_lookup` has read; as `lookup`."""
        try:
            lookup = reading.lookup()
        except StoreUnavailableError as error:
            self._unavailable(entry, error)
            return None
        return self._checked(entry, lookup) if lookup.refused else lookup

    def _may_be_read(self) -> bool:
        # `is_caught_up` is called for every store: it also applies what other processes of this
        # host have left pending. Its answer matters only for a store that other hosts use.
        return invalidation.transactions.is_caught_up() or not self.store.is_shared

    def _is_pending(self, entry: Entry, pending: frozenset[str]) -> bool:
        if pending.isdisjoint(entry.scopes):
            return False
        self.stats.count("bypassed", entry.function)
        return True

    def _is_bypassed(self, entry: Entry) -> bool:
        # Values that the application sets itself, such as sessions, cannot be loaded instead.
        if not is_bypassed() or entry.function not in self.policies:
            return False
        self.stats.count("bypassed", entry.function)
        return True

    def value_if_younger(
        self, entry: Entry, lookup: Lookup | None, seconds: float, *, shared: bool = False
    ) -> Any:
        """Return the value of a current record that is younger than ``seconds``, else MISSING. If a
        record was stored long after now, a clock was set back: its age is unknown. ``shared``: no
        caller changes the value, so it may be one that others have got, too."""
        if lookup is None:
            return MISSING
        record = lookup.record
        known = lookup if type(lookup) is Known else None  # and then it is current
        if record is None or (known is None and record.generations != lookup.generations):
            return MISSING
        if not -AHEAD <= time.time() - record.stored_at < seconds:
            return MISSING
        if known is not None and known.value is not MISSING:
            return known.value
        try:
            if known is None:
                return self.store.value(entry, record)
            value = known.load()
            if not known.is_settled:
                known.settle(value, shared=shared)
            return value
        except GoneError:
            again = self._replaced(entry, record)
            return self.value_if_younger(entry, again, seconds, shared=shared)
        except Exception as error:
            if is_interruption(error):
                raise
            # The record is of another release, or its content is gone or cut short. It is a miss,
            # and a load replaces it.
            self.fault(entry, "unreadable", repr(error))
            return MISSING

    def value_if_fresh(self, entry: Entry, lookup: Lookup | None, policy: Policy) -> Any:
        """Return the value that may be served without a load, else MISSING."""
        seconds = policy.expire
        if policy.early and lookup is not None and lookup.record is not None:
            seconds -= policy.head_start(lookup.record)
        return self.value_if_younger(entry, lookup, seconds, shared=policy.shared)

    def value_in_loop(self, entry: Entry, lookup: Lookup | None, policy: Policy) -> Any:
        """As `value_if_fresh`; UNKNOWN if an event loop must not wait for it."""
        if type(lookup) is Known:
            if lookup.value is MISSING and not lookup.whole_record.is_short:
                return UNKNOWN
        elif lookup is not None and lookup.record is not None and not lookup.record.is_short:
            return UNKNOWN
        return self.value_if_fresh(entry, lookup, policy)

    def digest_if_fresh(self, entry: Entry, lookup: Lookup | None, policy: Policy) -> str | None:
        """Return the digest of content that may be served without a load, else None."""
        if lookup is None or lookup.record is None or not lookup.is_current:
            return None
        if not -AHEAD <= time.time() - lookup.record.stored_at < policy.expire:
            return None
        try:
            return self.store.digest(entry, lookup.record)
        except GoneError:
            again = self._replaced(entry, lookup.record)
            return self.digest_if_fresh(entry, again, policy)

    def _replaced(self, entry: Entry, record: Record) -> Lookup | None:
        """Look up an entry again whose value is gone: another process may have replaced its record
        since. Returns None if there is no other record."""
        lookup = self.lookup(entry)
        return None if lookup is None or lookup.record == record else lookup

    def value_if_stale(self, entry: Entry, lookup: Lookup | None, policy: Policy) -> Any:
        """Return the value that may be served within its grace, during a load or after a failed
        one, else MISSING."""
        return self.value_if_younger(entry, lookup, policy.max_age, shared=policy.shared)

    # -- asking the store ------------------------------------------------------------------

    def read(self, entry: Entry, read: Callable[[Entry], Lookup]) -> Lookup | None:
        lookup: Lookup | None = self._ask(entry, read, entry)
        return lookup and self._checked(entry, lookup)

    def _checked(self, entry: Entry, lookup: Lookup) -> Lookup:
        if lookup.refused:
            self.fault(entry, "refused", REFUSED)
        return lookup

    def _ask(self, entry: Entry, ask: Callable[..., Any], *args: Any) -> Any:
        """Ask the store; if it is unavailable, count and log that, and return None."""
        try:
            return ask(*args)
        except StoreUnavailableError as error:
            self._unavailable(entry, error)
            return None

    def _unavailable(self, entry: Entry, error: StoreUnavailableError) -> None:
        # A job's time limit may be a TimeoutError, which is an OSError and looks like a failure of
        # the disk.
        if error.__cause__ is not None and is_interruption(error.__cause__):
            raise error.__cause__ from None
        self.fault(entry, error.kind, error)

    def discard(self, entry: Entry) -> None:
        """Free the room that an entry takes."""
        self._ask(entry, self.store.discard, entry)

    def fault(self, entry: Entry, kind: str, error: object) -> None:
        self.stats.fault(kind, entry.function, error, entry.function)

    def step(self, entry: Entry, ask: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        return functools.partial(self._ask, entry, ask, *args)

    # -- invalidating ----------------------------------------------------------------------

    def invalidate(self, scopes: frozenset[str], what: str = "", function: str = "") -> None:
        """Invalidate at the end of the bulk change, at the commit of the transaction, or now. For
        ``what`` and ``function`` see `Invalidation`."""
        invalidation.invalidate([Invalidation(self, scopes, what, function)])

    def invalidate_now(self, scopes: frozenset[str]) -> None:
        """As `invalidate`, even inside a transaction."""
        invalidation.invalidate_now([Invalidation(self, scopes)])

    def invalidate_everything(self) -> None:
        """Invalidate every entry of the region."""
        invalidation.invalidate_all([self])
