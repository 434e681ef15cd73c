"""The protocol: how a call becomes a hit, a load, or a wait for somebody else's load.

**Why no read is stale.** A load takes the current generations of its entry's scopes *before* it
runs and its record carries them. A hit fetches record and generations together and wants them
equal. An invalidation replaces a generation by a fresh random one. So a record that matches after
an invalidation began its load after it; whatever was loading, waiting or being stored meanwhile
carries a generation that is never current again. Evictions and restarts only remove generations,
and a missing one matches nothing. An invalidation is one moment, whatever it covers: no load that
is stored begins between the change of one generation and that of another, so no value is made of
an older one (`beaker_regions.stores.memcached.generations`). No lease takes part in this, and no
host's clock.

Who waits for a load takes a record that was invalidated meanwhile, if it was current at some moment
of the call: it reads no older value than a hit at that moment (`beaker_regions.engine.waiting`).

**Leases** only save work (`beaker_regions.engine.loading`): who holds an entry's lease loads, the
others look again now and then (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, section
3.2). A lease that ran out, got lost or was never to be had costs a second load and nothing else.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from beaker_regions.engine import invalidation
from beaker_regions.engine.bypass import block, is_bypassed
from beaker_regions.engine.expiring_set import ExpiringSet
from beaker_regions.engine.store import GoneError, NoCounters
from beaker_regions.engine.transactions import Invalidation
from beaker_regions.entries.entry import region_scope
from beaker_regions.entries.records import AHEAD
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.errors import ConfigurationError, StoreUnavailableError
from beaker_regions.runtime.interruptions import is_interruption
from beaker_regions.telemetry.recorder import Stats

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from beaker_regions.config.options import RegionOptions
    from beaker_regions.engine.store import Store
    from beaker_regions.entries.entry import Entry, Lookup
    from beaker_regions.entries.freshness import Policy

METRICS = ".metrics"
"""The folder in data_dir for what all processes count; no region can have this name."""


_regions: WeakSet[Region] = WeakSet()


def all_regions() -> list[Region]:
    """Return every region of this process, by name."""
    return sorted(_regions, key=lambda region: region.name)


def regions_named(name: str) -> list[Region]:
    """Return the regions of this process that have this name: one, unless it has several
    managers."""
    return [region for region in all_regions() if region.name == name]


class Region:
    """One configured region: a store, and the protocol over it."""

    def __init__(self, options: RegionOptions, store: Store) -> None:
        self.options = options
        self.name = options.name
        self.store = store
        self.enabled = options.enabled
        self.lease = options.lease
        self.functions: dict[str, Any] = {}
        """The decorated functions that it keeps the results of, by name."""
        self.policies: dict[str, Policy] = {}
        """For how long values are served: of functions, and of what else counts under a name of
        its own, such as pages."""
        self.metrics = options.data_dir and options.data_dir / METRICS
        """Where all processes count what they do (`beaker_regions.reports.metrics`); None: each for
        itself."""
        self.stats = Stats(options.name, self.metrics)
        self.not_stored = ExpiringSet()
        """Loaded here, and not stored: not worth it, too large, refused."""
        self.failed = ExpiringSet()
        """Loaded here in vain, while there was an old value to serve."""
        store.generation_store.cover(region_scope(options.name))
        _regions.add(self)

    @property
    def folder(self) -> Path | None:
        """The folder that the region's entries lie in; None where they lie in none."""
        return self.store.folder

    def longest_grace(self) -> float:
        """Return the seconds after its expiry for which some value of this region may be served."""
        graces = [policy.grace for policy in list(self.policies.values())]
        return max([self.options.grace, *graces])

    def require_atomic(self, what: str) -> None:
        """Raise ConfigurationError, for ``what`` needs it, if the store cannot change a value that
        others may be changing."""
        if isinstance(self.store.counters, NoCounters):
            raise ConfigurationError(
                f"region {self.name!r}: type = {self.options.type!r}: {what} cannot be kept there, "
                f"since it only gets and sets; use a region of type 'file' or 'ext:memcached'"
            )

    # -- looking ---------------------------------------------------------------------------

    def look(self, entry: Entry) -> Lookup | None:
        """Read an entry; None when the store cannot say, this thread is about to invalidate it, or
        may not know what others have: then nothing stored may be used, and nothing be stored."""
        if not self._may_be_read():
            self.stats.count("bypassed", entry.function)
            return None
        pending = invalidation.pending()
        if pending and self._is_pending(entry, pending):
            return None
        if block.get() is not None and self._is_bypassed(entry):
            return None
        return self.read(entry, self.store.read)

    def look_many(self, entries: Sequence[Entry]) -> list[Lookup | None]:
        """As `look`, for many entries: one round trip to each server."""
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
        lookups: dict[Entry, Lookup | None] = {}
        for entry, found in zip(wanted, self.store.read_many(wanted), strict=True):
            if isinstance(found, StoreUnavailableError):
                self.fault(entry, found.kind, found)
            else:
                lookups[entry] = self._checked(entry, found)
        return [lookups.get(entry) for entry in entries]

    def _may_be_read(self) -> bool:
        # What another process of this host has left is looked for whatever the store is; only other
        # hosts' invalidations have to be known.
        return invalidation.transactions.is_caught_up() or not self.store.is_shared

    def _is_pending(self, entry: Entry, pending: frozenset[str]) -> bool:
        if pending.isdisjoint(entry.scopes):
            return False
        self.stats.count("bypassed", entry.function)
        return True

    def _is_bypassed(self, entry: Entry) -> bool:
        # Values that the application sets itself, such as sessions, are nothing that could be
        # loaded instead.
        if not is_bypassed() or entry.function not in self.policies:
            return False
        self.stats.count("bypassed", entry.function)
        return True

    def value_if_younger(self, entry: Entry, lookup: Lookup | None, seconds: float) -> Any:
        """Return the value of a record that matches and is younger than ``seconds``, else
        MISSING. One that was stored long after now is as old as nobody knows: a clock was set
        back."""
        if lookup is None:
            return MISSING
        record = lookup.record
        if record is None or record.generations != lookup.generations:
            return MISSING
        if not -AHEAD <= time.time() - record.stored_at < seconds:
            return MISSING
        try:
            return self.store.value(entry, record)
        except GoneError:
            return MISSING
        except Exception as error:
            if is_interruption(error):
                raise
            # Of another release, or content that is gone or cut short: a miss, healed by a load.
            self.fault(entry, "unreadable", repr(error))
            return MISSING

    def value_if_fresh(self, entry: Entry, lookup: Lookup | None, policy: Policy) -> Any:
        """Return the value that may be served as it is, else MISSING."""
        seconds = policy.expire
        if policy.early and lookup is not None and lookup.record is not None:
            seconds -= policy.head_start(lookup.record)
        return self.value_if_younger(entry, lookup, seconds)

    def value_if_stale(self, entry: Entry, lookup: Lookup | None, policy: Policy) -> Any:
        """Return the value that may be served while, or because, no new one is to be had."""
        return self.value_if_younger(entry, lookup, policy.usable_for)

    # -- asking the store ------------------------------------------------------------------

    def read(self, entry: Entry, read: Callable[[Entry], Lookup]) -> Lookup | None:
        lookup: Lookup | None = self._ask(entry, read, entry)
        return lookup and self._checked(entry, lookup)

    def _checked(self, entry: Entry, lookup: Lookup) -> Lookup:
        if lookup.refused:
            self.fault(entry, "refused", "what is stored is no record of ours")
        return lookup

    def _ask(self, entry: Entry, ask: Callable[..., Any], *args: Any) -> Any:
        """Ask the store; None, counted and logged, when it is not to be had."""
        try:
            return ask(*args)
        except StoreUnavailableError as error:
            # On files a time limit may be an OSError: TimeoutError is one.
            if error.__cause__ is not None and is_interruption(error.__cause__):
                raise error.__cause__ from None
            self.fault(entry, error.kind, error)
            return None

    def fault(self, entry: Entry, kind: str, error: object) -> None:
        self.stats.fault(kind, entry.function, error, entry.function)

    def step(self, entry: Entry, ask: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        return functools.partial(self._ask, entry, ask, *args)

    # -- invalidating ----------------------------------------------------------------------

    def invalidate(self, scopes: frozenset[str], what: str = "", function: str = "") -> None:
        """Invalidate at the end of the bulk change, at the commit of the transaction, or now; what
        is said of it as `Invalidation` has it."""
        invalidation.invalidate([Invalidation(self, scopes, what, function)])

    def invalidate_now(self, scopes: frozenset[str]) -> None:
        """As `invalidate`, even inside a transaction."""
        invalidation.invalidate_now([Invalidation(self, scopes)])

    def invalidate_everything(self) -> None:
        """Invalidate every entry of the region."""
        invalidation.invalidate_all([self])
