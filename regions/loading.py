"""How a value that is not stored is loaded: by one caller, for all who want it.

Who gets the entry's lease loads, the others look again now and then, and wait no longer than a
lease lasts, or content arrives.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from regions import transactions
from regions.content import is_spent
from regions.missing import MISSING
from regions.records import Codec, Record
from regions.steps import Load, Protocol, Step, Wait

if TYPE_CHECKING:
    from regions.policy import Policy
    from regions.region import Region
    from regions.store import Entry, Reading

FIRST_WAIT = 0.002
"""Seconds before a waiting caller looks again for the first time."""
LONGEST_WAIT = 0.05
"""Seconds between two looks, at the most: times grow by half from the first wait up to this."""
SLOW = 0.05
"""Seconds from which a load that failed within the grace is put off, and not tried at each call."""
PATIENCE = 10
"""For how many times as long as it has taken: what does not answer holds up no process for more
than a tenth of its time."""


class Loading:
    """One caller's way to the value of one entry."""

    def __init__(self, region: Region, entry: Entry, policy: Policy) -> None:
        self._region = region
        self._store = region.store
        self._entry = entry
        self._policy = policy
        self._stats = region.stats.of(entry.function)

    def load(self, reading: Reading | None) -> Protocol:
        """After a look that found nothing fresh: load, or wait for who does."""
        region, store, entry, stats = self._region, self._store, self._entry, self._stats
        if reading is not None:
            stats.sample(entry, reading)
        if reading is None or transactions.current.active():
            return (yield from self._load_alone())
        if entry.address in region.failed:
            old = yield self._old(reading)
            if old is not MISSING:
                stats.count("stale")
                return old
        waited, pause = 0.0, FIRST_WAIT
        while waited < region.lease:
            token = yield region.step(entry, store.acquire, entry, region.lease)
            if token is None:
                return (yield from self._load_alone())
            if token:
                return (yield from self._load_leased(reading, token))
            old = yield self._old(reading)
            if old is not MISSING:
                stats.count("stale")
                return old
            stats.count("waits")
            pause = min(pause * 1.5, LONGEST_WAIT)
            pause *= random.uniform(0.75, 1.0)
            yield Wait(pause)
            waited += pause
            reading = yield functools.partial(region.read, entry, store.read_afresh)
            value = yield self._fresh(reading)
            if value is not MISSING:
                stats.count("hits")
                return value
            if entry.address in region.unstored:
                # Waiting in turn for values that are not stored would only take longer.
                return (yield from self._load_alone())
            if waited >= region.lease and (
                yield region.step(entry, store.is_arriving, entry, region.lease)
            ):
                # A lease lasts as long as bytes flow: nobody fetches a gigabyte twice.
                waited = 0.0
        # Whoever has the lease takes longer than it lasts: wait no more.
        reading = yield self._begin()
        stats.count("misses")
        return (yield from self._load_and_store(reading))

    def refresh(self) -> Protocol:
        """Load now and store. Loads that began earlier can no longer be stored over it."""
        yield functools.partial(self._region.invalidate, self._entry.own_scope)
        if transactions.current.active():
            value, _ = yield from self._timed_load()
            return self._store.unstored(value)
        reading = yield self._begin()
        return (yield from self._load_and_store(reading))

    def _load_leased(self, seen: Reading | None, token: bytes) -> Protocol:
        region, entry, stats = self._region, self._entry, self._stats
        try:
            reading = yield self._begin()
            if reading != seen:
                # Somebody may have stored a value between our look and our lease.
                value = yield self._fresh(reading)
                if value is not MISSING:
                    stats.count("hits")
                    return value
            started = time.monotonic()
            try:
                value = yield from self._load_and_store(reading)
            except Exception as error:
                # Stale-if-error (RFC 5861): within its grace the old value beats none.
                old = yield self._old(reading)
                if old is MISSING:
                    stats.count("misses")
                    raise
                self._put_off(time.monotonic() - started)
                region.fault(entry, "load", repr(error))
                stats.count("stale")
                return old
            stats.count("misses")
            return value
        finally:
            yield region.step(entry, self._store.release, entry, token)

    def _put_off(self, seconds: float) -> None:
        """Let the old value be served at once for a while, after a load that failed slowly."""
        if seconds >= SLOW:
            self._region.failed.add(self._entry.address, PATIENCE * seconds)

    def _load_alone(self) -> Protocol:
        self._stats.count("misses")
        value, _ = yield from self._timed_load()
        return self._store.unstored(value)

    def _load_and_store(self, reading: Reading | None) -> Protocol:
        region, policy = self._region, self._policy
        generations = () if reading is None else reading.generations
        value, seconds = yield from self._timed_load()
        complete = reading is not None and None not in generations
        if not complete or (policy.store_if is not None and not policy.store_if(value)):
            region.unstored.add(self._entry.address, region.lease)
            return self._store.unstored(value)
        record = Record(
            generations=tuple(generation for generation in generations if generation is not None),
            stored_at=time.time(),
            expire=policy.expire,
            load_seconds=seconds,
            codec=Codec.PICKLE,
            payload=b"",
        )
        stored = yield region.step(self._entry, self._write, value, record)
        if stored is not None:
            region.unstored.discard(self._entry.address)
            self._stats.stored(stored[0])
            return stored[0]
        region.unstored.add(self._entry.address, region.lease)
        if is_spent(value):
            value, _ = yield from self._timed_load()
        return self._store.unstored(value)

    def _timed_load(self) -> Generator[Step, Any, tuple[Any, float]]:
        started = time.monotonic()
        try:
            value = yield Load
        except Exception:
            self._stats.count("load_errors")
            raise
        seconds = time.monotonic() - started
        self._stats.loaded(seconds)
        return value, seconds

    def _write(self, value: Any, record: Record) -> tuple[Any]:
        ttl = self._policy.expire + self._policy.grace
        return (self._store.write(self._entry, value, record, ttl),)

    # -- steps that look -------------------------------------------------------------------

    def _begin(self) -> Step:
        return functools.partial(self._region.read, self._entry, self._store.begin)

    def _fresh(self, reading: Reading | None) -> Step:
        return functools.partial(self._region.fresh, self._entry, reading, self._policy)

    def _old(self, reading: Reading | None) -> Step:
        return functools.partial(self._region.old, self._entry, reading, self._policy)
