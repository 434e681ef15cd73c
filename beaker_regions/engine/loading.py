"""Loading: how one caller loads a missing value for all callers that want it.

The caller that gets the entry's lease loads. The others read the entry again at intervals.
`beaker_regions.engine.waiting` decides which records they may take, and how long they wait.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any

from beaker_regions.engine import invalidation
from beaker_regions.engine.drivers import Load, LoadFlow, ReadContent, Step, StoppedError, Wait
from beaker_regions.engine.region import Region
from beaker_regions.engine.store import Lease, Stored
from beaker_regions.engine.waiting import Waiter
from beaker_regions.entries.content import is_content, is_spent
from beaker_regions.entries.entry import Entry, Lookup
from beaker_regions.entries.freshness import Policy
from beaker_regions.entries.records import NO_TURN, Record
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.errors import NotContentError
from beaker_regions.runtime.interruptions import is_interruption
from beaker_regions.telemetry import miss_reasons
from beaker_regions.telemetry.recorder import FunctionStats

SLOW = 0.05
"""Seconds. After a failed load that took longer, the old value is served for a while, and no other
load is tried."""
_SETTLING = 0.01, 0.05, 0.2, 1.0
"""Seconds between lookups of an entry that is filled, while its generations are changed."""
PATIENCE = 10
"""Back off for this many times the duration of the failed load, so that an unresponsive origin
takes at most a tenth of a process's time."""


Holds = Callable[[Any], bool]
"""Whether the values that a stored value is made of, and names, are still current."""

LoadObserver = Callable[["Region", "Entry", "Policy", bool], AbstractContextManager[object]]
"""Makes the block in which the value of an entry is loaded, and the block in which it is written.
The last argument: whether the value names the values that it is made of."""

_observer: LoadObserver | None = None
_UNOBSERVED = contextlib.nullcontext()


def observe_loads(observer: LoadObserver | None) -> None:
    """Call ``observer`` for every load of this process from now on; None: for no load."""
    global _observer
    _observer = observer


def load(
    region: Region, entry: Entry, lookup: Lookup | None, policy: Policy, holds: Holds | None = None
) -> LoadFlow:
    """After a lookup without a fresh value: load, or wait for another caller's load. ``holds``
    decides whether another caller's value is valid."""
    return _Loading(region, entry, policy, holds).load(lookup)


def refresh(region: Region, entry: Entry, policy: Policy) -> LoadFlow:
    """Load now and store. Loads that began earlier cannot be stored over it."""
    return _Loading(region, entry, policy).refresh()


def fill(region: Region, entry: Entry, lookup: Lookup | None, policy: Policy) -> LoadFlow:
    """After a lookup for a load without a fresh value: load, without waiting for others."""
    return _Loading(region, entry, policy).fill(lookup)


class _CountedErrors:
    """Counts the errors of a load that leave its block. Every load has such blocks, and a generator
    would take five times as long."""

    __slots__ = ("_stats",)

    def __init__(self, stats: FunctionStats) -> None:
        self._stats = stats

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception):
            self._stats.count("load_errors")


class _Loading:
    """One caller's load of one entry."""

    def __init__(
        self, region: Region, entry: Entry, policy: Policy, holds: Holds | None = None
    ) -> None:
        self._region = region
        self._store = region.store
        self._entry = entry
        self._policy = policy
        self._holds = holds
        self._stats = region.stats.of(entry.function)
        self._reason = miss_reasons.UNKNOWN
        self._counting_errors = _CountedErrors(self._stats)

    def load(self, lookup: Lookup | None) -> LoadFlow:
        """After a lookup without a fresh value: load, or wait for another caller's load."""
        region, store, entry, stats = self._region, self._store, self._entry, self._stats
        self._reason = miss_reasons.reason(
            region.stats.loads, entry, lookup, self._policy, depends=self._holds is not None
        )
        if lookup is not None:
            stats.sample(entry, lookup)
        if lookup is None or (yield invalidation.transactions.active):
            return (yield from self._load_alone())
        if entry.address in region.failed:
            old = yield self._old(lookup)
            if old is not MISSING:
                stats.count("stale")
                return old
        waiter = Waiter(region.lease)
        while not waiter.is_stuck:
            lease = yield region.step(entry, store.acquire, entry, region.lease, waiter.over)
            if lease is None:
                return (yield from self._load_alone())
            if lease.mine:
                return (yield from self._load_leased(lookup, waiter, lease))
            old = yield self._old(lookup)
            if old is not MISSING:
                stats.count("stale")
                return old
            waiter.refused(lease)
            stats.count("waits")
            if not waiter.in_vain:
                yield Wait(waiter.pause())
            lookup = yield functools.partial(region.read, entry, store.read_uncached)
            value = yield self._found(lookup, waiter)
            if value is not MISSING:
                stats.count("hits")
                return value
            if entry.address in region.not_stored:
                # Values of this entry are not stored, so waiting would only take longer.
                return (yield from self._load_alone())
            if waiter.in_vain:
                break
            if waiter.is_over and (
                yield region.step(entry, store.is_progressing, entry, region.lease)
            ):
                # A lease lasts while content arrives, so that a gigabyte is not fetched twice.
                waiter.renew()
        lookup = yield self._begin()
        stats.missed(self._reason)
        return (yield from self._load_and_store(lookup))

    def refresh(self) -> LoadFlow:
        """Load now and store. Loads that began earlier cannot be stored over it."""
        yield functools.partial(self._region.invalidate, self._entry.own_scope)
        if (yield invalidation.transactions.active):
            return (yield from self._load_unstored())
        lookup = yield self._begin()
        return (yield from self._load_and_store(lookup))

    def fill(self, lookup: Lookup | None) -> LoadFlow:
        """Load now and store, even if another caller loads it at the same time."""
        if (yield invalidation.transactions.active):
            return (yield from self._load_alone())
        for pause in _SETTLING:
            # While a tag is invalidated, no load can begin whose value may be stored.
            if lookup is None or None not in lookup.generations:
                break
            yield Wait(pause)
            lookup = yield self._begin()
        if lookup is None:
            return (yield from self._load_alone())
        self._stats.count("misses")
        return (yield from self._load_and_store(lookup))

    def _load_leased(self, former: Lookup | None, waiter: Waiter, lease: Lease) -> LoadFlow:
        region, entry, stats = self._region, self._entry, self._stats
        try:
            lookup = yield self._begin()
            if lookup != former:
                # Another caller may have stored a value before this one took the lease.
                value = yield self._found(lookup, waiter)
                if value is not MISSING:
                    stats.count("hits")
                    return value
            started = time.monotonic()
            try:
                value = yield from self._load_and_store(lookup, lease.turn)
            except Exception as error:
                if is_interruption(error):
                    raise
                # Stale-if-error (RFC 5861): within its grace the old value is served.
                old = yield self._old(lookup)
                if old is MISSING:
                    stats.missed(self._reason)
                    raise
                self._put_off(time.monotonic() - started)
                region.fault(entry, "load", repr(error))
                stats.count("stale")
                return old
            stats.missed(self._reason)
            return value
        finally:
            yield region.step(entry, self._store.release, entry, lease)

    def _put_off(self, seconds: float) -> None:
        """After a slow failed load, serve the old value for a while without another attempt."""
        if seconds >= SLOW:
            self._region.failed.add(self._entry.address, PATIENCE * seconds)

    def _load_alone(self) -> LoadFlow:
        self._stats.missed(self._reason)
        return (yield from self._load_unstored())

    def _load_unstored(self) -> LoadFlow:
        started = time.monotonic()
        value = yield from self._called()
        return (yield from self._not_stored(value, started))

    def _load_and_store(self, lookup: Lookup | None, turn: bytes = NO_TURN) -> LoadFlow:
        region, policy = self._region, self._policy
        generations = () if lookup is None else lookup.generations
        started = time.monotonic()
        value = yield from self._called()
        complete = lookup is not None and None not in generations
        if not complete or not self._is_worth_storing(value):
            self._note_not_stored()
            return (yield from self._not_stored(value, started))
        record = Record.begun(generations, policy.expire, time.monotonic() - started, turn)
        write = region.step(self._entry, self._write, value, record)
        with self._counting_errors:
            stored: Stored | None = yield ReadContent(write) if is_content(value) else write
        if stored is not None:
            region.not_stored.discard(self._entry.address)
            region.stats.loads.note(self._entry.address, record.generations, stored=True)
            self._stats.loaded(stored.load_seconds)
            self._stats.stored(stored.value)
            return stored.value
        self._note_not_stored()
        if is_spent(value):
            self._stats.loaded(time.monotonic() - started)
            return (yield from self._load_unstored())
        return (yield from self._not_stored(value, started))

    def _note_not_stored(self) -> None:
        self._region.not_stored.add(self._entry.address, self._region.lease)
        self._region.stats.loads.note(self._entry.address, (), stored=False)

    def _called(self) -> Generator[Step, Any, Any]:
        """Call the function. What it returns may be content, or a query set, that runs on while it
        is read."""
        with self._counting_errors:
            return (yield Load(self._observed()))

    def _write(self, value: Any, record: Record) -> Stored:
        ttl = self._policy.expire + self._policy.grace
        # A query set, or an iterator, reads the database when it is written.
        try:
            with self._observed():
                return self._store.write(self._entry, value, record, ttl)
        except NotContentError as error:
            raise self._named(error) from None

    def _not_stored(self, value: Any, started: float) -> LoadFlow:
        if is_content(value):
            with self._counting_errors:
                value = yield ReadContent(self._passed_through, value)
        self._stats.loaded(time.monotonic() - started)
        return value

    def _passed_through(self, content: Any) -> Any:
        try:
            with self._observed():
                return self._store.pass_through(content)
        except NotContentError as error:
            raise self._named(error) from None

    def _observed(self) -> AbstractContextManager[object]:
        if _observer is None:
            return _UNOBSERVED
        return _observer(self._region, self._entry, self._policy, self._holds is not None)

    def _named(self, error: NotContentError) -> NotContentError:
        return NotContentError(f"{self._entry.function}: {error}")

    def _is_worth_storing(self, value: Any) -> bool:
        try:
            return self._policy.store_if is None or self._policy.store_if(value)
        except StopIteration as error:
            raise StoppedError(error) from None

    # -- steps that read -------------------------------------------------------------------

    def _begin(self) -> Step:
        return functools.partial(self._region.read, self._entry, self._store.read_for_load)

    def _found(self, lookup: Lookup | None, waiter: Waiter) -> Step:
        """Return the value of this lookup, if a caller that has waited may take it."""
        waiter.saw(lookup)
        holds = self._holds
        if lookup is not None and lookup.record is not None and waiter.may_take(lookup.record):
            if waiter.began_since(lookup.record):
                holds = None
            # To this caller the record is as good as a current one.
            lookup = lookup._replace(generations=lookup.record.generations)
        return functools.partial(self._value, self._region.value_if_fresh, lookup, holds)

    def _old(self, lookup: Lookup | None) -> Step:
        return functools.partial(self._value, self._region.value_if_stale, lookup, self._holds)

    def _value(
        self,
        choose: Callable[[Entry, Lookup | None, Policy], Any],
        lookup: Lookup | None,
        holds: Holds | None,
    ) -> Any:
        value = choose(self._entry, lookup, self._policy)
        return value if value is MISSING or holds is None or holds(value) else MISSING
