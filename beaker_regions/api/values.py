"""Values that the application sets itself, and changes where others change them too.

    carts = cache.values("functions", "carts", expire=60 * 60)
    carts.set(user.pk, ("apples",))
    carts.update(user.pk, lambda cart: (*cart, "pears"), default=())

`Values.update` is a compare-and-set in a loop: what has changed since it was looked at is looked
at again, so no update is lost. A token says what was looked at. It is worth nothing on another
connection: memcached numbers its items, and one that restarts begins at 1 again, so a number
alone may mean another item.

A value is sealed as all that a region stores. It takes effect at once, within a database
transaction too: it is what the application says, not what a query returned. As with everything in
a region, it may be gone at any time; what must not be lost belongs in a database as well.
"""

from __future__ import annotations

import math
import random
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from beaker_regions.entries.entry import (
    Entry,
    address_of,
    entry_scope,
    function_scope,
    region_scope,
)
from beaker_regions.entries.keys import encode
from beaker_regions.entries.records import Codec, Record
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.errors import ContendedError, StoreUnavailableError, UnkeyableArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from beaker_regions.engine.region import Region
    from beaker_regions.engine.store import LookupForUpdate
    from beaker_regions.entries.entry import Lookup

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")

TRIES = 100
"""How often an update is tried while others are quicker; a second in all."""
FIRST_PAUSE = 0.0005
LONGEST_PAUSE = 0.02
"""Seconds between two tries, at the most; each is a random part of that."""


class Values(Generic[K, V]):
    """The values of one name in a region, each under a key (arguments as of a function).

    ``expire``: seconds for which a value lives that is set without a time of its own.

    Raises ConfigurationError for a region of a type that cannot keep them.
    """

    def __init__(self, region: Region, name: str, expire: float) -> None:
        self.region = region
        self.name = name
        self._expire = expire
        self._subject = f"values {name!r}"
        region.require_atomic(self._subject)
        # Qualified names of functions have no space.
        self._scope = function_scope(region.name, f"values {name}")
        self._shared_scopes = (self._scope, region_scope(region.name))

    def _entry(self, key: K) -> Entry:
        try:
            encoded = encode((self.name, key))
        except (TypeError, ValueError, RecursionError) as error:
            raise UnkeyableArgumentError(f"{self._subject}: {key!r}: {error}") from error
        # Region names have no space: no function has this address.
        address = address_of(b"a value", self.region.name.encode(), encoded)
        return Entry(self._subject, address, (entry_scope(address), *self._shared_scopes))

    # -- reading ---------------------------------------------------------------------------

    def get(self, key: K, default: Any = None) -> V | Any:
        """Return the value of a key, or ``default`` where there is none."""
        if not self.region.enabled:
            return default
        entry = self._entry(key)
        value = self._counted(entry, self.region.look(entry))
        return default if value is MISSING else value

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Return what there is of many keys, in one round trip to each server."""
        if not self.region.enabled:
            return {}
        entries = {key: self._entry(key) for key in keys}
        readings = self.region.look_many(list(entries.values()))
        found = {
            key: self._counted(entry, reading)
            for (key, entry), reading in zip(entries.items(), readings, strict=True)
        }
        return {key: value for key, value in found.items() if value is not MISSING}

    def _counted(self, entry: Entry, reading: Lookup | None) -> Any:
        value = self._usable(entry, reading)
        self.region.stats.count("misses" if value is MISSING else "hits")
        return value

    def _usable(self, entry: Entry, reading: Lookup | None) -> Any:
        if reading is None or reading.record is None:
            return MISSING
        found = self.region.value_if_younger(entry, reading, reading.record.expire)
        return MISSING if found is MISSING else found[0]

    # -- writing ---------------------------------------------------------------------------

    def set(self, key: K, value: V, expire: float | timedelta | None = None) -> bool:
        """Store a value, for ``expire`` seconds (None: as these values live). Returns whether it
        is stored; if not, there is none. Raises what pickle raises for one that it cannot take.
        """
        life = self._life(expire)
        if not self.region.enabled:
            return False
        entry = self._entry(key)
        try:
            self._exchange(entry, value, self.region.store.read_for_load(entry), life, None)
        except StoreUnavailableError as error:
            self._failed(error)
            # What is there may be an older value.
            self.region.invalidate_now(entry.own_scope)
            return False
        return True

    def add(self, key: K, value: V, expire: float | timedelta | None = None) -> bool:
        """As `set`, but only where there is no value. Returns whether this one is stored: of any
        number of callers, one is told so."""

        def only_first(found: Any) -> V:
            if found is not MISSING:
                raise _Refused
            return value

        return self._did_change(key, only_first, expire)

    def touch(self, key: K, expire: float | timedelta | None = None) -> bool:
        """Give a value a new end, in ``expire`` seconds; return whether there is one."""

        def only_present(found: Any) -> V:
            if found is MISSING:
                raise _Refused
            return found  # type: ignore[no-any-return]

        return self._did_change(key, only_present, self._life(expire))

    def _did_change(
        self, key: K, function: Callable[[Any], V], expire: float | timedelta | None
    ) -> bool:
        try:
            return self._change(key, function, expire) is not None
        except _Refused:
            return False

    def update(
        self,
        key: K,
        function: Callable[[V], V],
        *,
        default: Any = None,
        expire: float | timedelta | None = None,
    ) -> V | None:
        """Replace a value by what ``function`` makes of it, or of ``default`` where there is none,
        and return that. None: the store is away, or does not take it, which is no failure of the
        caller's; then the value may be the old one.

        ``expire``: seconds from now; None: a value that is there ends when it would have ended.

        The function is called again when somebody else has changed the value meanwhile, so it
        should do nothing else. Raises Contended when that happens `TRIES` times in a row, what the
        function raises, and what pickle raises for a value that it cannot take.
        """

        def change(found: Any) -> V:
            return function(default if found is MISSING else found)

        changed = self._change(key, change, expire)
        return None if changed is None else changed[0]

    def _change(
        self, key: K, function: Callable[[Any], V], expire: float | timedelta | None
    ) -> tuple[V] | None:
        """As `update`, for a function that takes MISSING; a value in a tuple."""
        own = self._life(expire)
        if not self.region.enabled:
            return None
        entry = self._entry(key)
        pause = FIRST_PAUSE
        try:
            for _ in range(TRIES):
                seen = self.region.store.get_for_update(entry)
                found, ends = self._present(entry, seen.lookup)
                value = function(found)
                life = own if found is MISSING or expire is not None else ends - time.time()
                if self._exchange(entry, value, seen.lookup, life, seen):
                    return (value,)
                time.sleep(random.uniform(0, pause))
                pause = min(pause * 2, LONGEST_PAUSE)
        except StoreUnavailableError as error:
            self._failed(error)
            return None
        raise ContendedError(
            f"region {self.region.name!r}, {self._subject}: {key!r} was changed by others "
            f"{TRIES} times while it was being updated; let fewer update one key, or update less "
            f"often"
        )

    def _present(self, entry: Entry, reading: Lookup) -> tuple[Any, float]:
        """Return the value that is there, and when it ends in seconds since the epoch."""
        if reading.refused:
            self.region.stats.fault(
                "refused", self._subject, "the stored bytes are not a record of this application"
            )
        record = reading.record
        ends = math.inf if record is None else record.stored_at + record.expire
        return self._usable(entry, reading), ends

    def _exchange(
        self, entry: Entry, value: V, reading: Lookup, expire: float, seen: LookupForUpdate | None
    ) -> bool:
        generations = tuple([each for each in reading.generations if each is not None])
        if len(generations) < len(entry.scopes):
            raise StoreUnavailableError("refused", "what is stored is no generation of ours")
        record = Record(generations, time.time(), expire, 0.0, Codec.PICKLE, b"")
        try:
            # In a tuple, a path or a file is a value as any other, and no content to be copied.
            return self.region.store.compare_and_set(entry, (value,), record, expire, seen)
        except StoreUnavailableError as error:
            if error.kind == "unpicklable" and error.__cause__ is not None:
                raise error.__cause__ from None
            raise

    def _life(self, expire: float | timedelta | None) -> float:
        if isinstance(expire, timedelta):
            expire = expire.total_seconds()
        life = self._expire if expire is None else expire
        if not life > 0:
            raise ValueError(f"{self._subject}: expire = {expire!r}: give seconds above 0")
        return life

    def _failed(self, error: StoreUnavailableError) -> None:
        self.region.stats.fault(error.kind, self._subject, error)

    def delete(self, key: K) -> None:
        """Let no later look find the value of a key as it was."""
        self.region.invalidate_now(self._entry(key).own_scope)

    def clear(self) -> None:
        """Let no later look find any of these values as it was; nothing else is touched."""
        self.region.invalidate_now(frozenset((self._scope,)))


class _Refused(Exception):
    """The value is to stay as it is."""
