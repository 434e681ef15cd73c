"""Values that the application sets itself. Many processes may change one; no update is lost.

`Values.update` is a loop around compare-and-set: if another caller changed the value after it was
read, it is read again. The token of a read is valid on the connection that made it alone:
memcached numbers its items, and starts at 1 again when it restarts.

A value is authenticated like every record of a region. It takes effect at once, even inside a
database transaction, because the application sets it and no query returned it. A value may
disappear at any time. If it must not be lost, store it in a database as well.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Hashable, Iterable
from datetime import timedelta
from typing import Any, Generic, TypeVar

from beaker_regions.engine.region import REFUSED, Region
from beaker_regions.engine.store import LookupForUpdate
from beaker_regions.entries.entry import (
    Entry,
    Lookup,
    address_of,
    entry_scope,
    function_scope,
    region_scope,
)
from beaker_regions.entries.keys import encoded_key
from beaker_regions.entries.records import Record
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.errors import ContendedError, StoreUnavailableError, UnpicklableError

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")

TRIES = 100
"""Attempts of one update while other callers change the value. They take about a second in all."""
FIRST_PAUSE = 0.0005
LONGEST_PAUSE = 0.02
"""Longest pause between two attempts, in seconds; each pause is a random part of it."""


class Values(Generic[K, V]):
    """A collection of values in a region, each under a key. `CacheManager.values` makes it.

    A key is anything that may be an argument of a cached function.

    Example::

        carts = cache.values("functions", "carts", expire=60 * 60)
        carts.set(user.pk, ("apples",))
        carts.update(user.pk, lambda cart: (*cart, "pears"), default=())
        carts.get(user.pk)  # ("apples", "pears")
    """

    def __init__(self, region: Region, name: str, expire: float) -> None:
        """Open a collection; `CacheManager.values` is the usual way.

        Args:
            region: The region that stores it.
            name: The name of the collection.
            expire: Seconds for which a value is stored if the caller gives no time.

        Raises:
            ConfigurationError: The region's store cannot change a value in one step.
        """
        self.region = region
        self.name = name
        self._expire = expire
        self._subject = f"values {name!r}"
        region.require_atomic(self._subject)
        # Qualified names of functions have no space.
        self._scope = function_scope(region.name, f"values {name}")
        self._shared_scopes = (self._scope, region_scope(region.name))

    def _entry(self, key: K) -> Entry:
        encoded = encoded_key(self._subject, (self.name, key))
        # The address of a function begins with its encoded identity: no function has this one.
        address = address_of(b"a value", self.region.name.encode(), encoded)
        return Entry(self._subject, address, (entry_scope(address), *self._shared_scopes))

    # -- reading ---------------------------------------------------------------------------

    def get(self, key: K, default: Any = None) -> V | Any:
        """Return the value of a key.

        Args:
            key: The key.
            default: Returned if there is no value, or if the store is unavailable.

        Returns:
            The value or the default.

        Raises:
            UnkeyableArgumentError: The key has no stable form.
        """
        if not self.region.enabled:
            return default
        entry = self._entry(key)
        value = self._counted(entry, self.region.lookup(entry))
        return default if value is MISSING else value

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Return the values of many keys, in one round trip to each server.

        Args:
            keys: The keys.

        Returns:
            The values by key; a key without a value is left out.

        Raises:
            UnkeyableArgumentError: A key has no stable form.
        """
        if not self.region.enabled:
            return {}
        entries = {key: self._entry(key) for key in keys}
        lookups = self.region.lookup_many(list(entries.values()))
        found = {
            key: self._counted(entry, lookup)
            for (key, entry), lookup in zip(entries.items(), lookups, strict=True)
        }
        return {key: value for key, value in found.items() if value is not MISSING}

    def _counted(self, entry: Entry, lookup: Lookup | None) -> Any:
        value = self._value_if_current(entry, lookup)
        self.region.stats.count("misses" if value is MISSING else "hits")
        return value

    def _value_if_current(self, entry: Entry, lookup: Lookup | None) -> Any:
        if lookup is None or lookup.record is None:
            return MISSING
        found = self.region.value_if_younger(entry, lookup, lookup.record.expire)
        return MISSING if found is MISSING else found[0]

    # -- writing ---------------------------------------------------------------------------

    def set(self, key: K, value: V, expire: float | timedelta | None = None) -> bool:
        """Store a value.

        Args:
            key: The key.
            value: Anything that pickle takes.
            expire: Seconds (or a timedelta) for which it is stored. None: the collection's.

        Returns:
            Whether it is stored. If not, the key has no value.

        Raises:
            UnkeyableArgumentError: The key has no stable form.
            ValueError: ``expire`` is not above 0.
            Exception: That of pickle for the value.
        """
        lifetime = self._lifetime(expire)
        if not self.region.enabled:
            return False
        entry = self._entry(key)
        try:
            self._compare_and_set(
                entry, value, self.region.store.read_for_load(entry), lifetime, None
            )
        except StoreUnavailableError as error:
            self._failed(error)
            # The store may still have an older value.
            self.region.invalidate_now(entry.own_scope)
            return False
        return True

    def add(self, key: K, value: V, expire: float | timedelta | None = None) -> bool:
        """Store a value if the key has none.

        Args:
            key: The key.
            value: Anything that pickle takes.
            expire: Seconds (or a timedelta) for which it is stored. None: the collection's.

        Returns:
            Whether this value is stored. Of several callers at once, one gets True.

        Raises:
            UnkeyableArgumentError: The key has no stable form.
            ContendedError: Others changed the value at every attempt.
            ValueError: ``expire`` is not above 0.
            Exception: That of pickle for the value.
        """

        def only_first(found: Any) -> V:
            if found is not MISSING:
                raise _NoChangeError
            return value

        return self._did_change(key, only_first, expire)

    def touch(self, key: K, expire: float | timedelta | None = None) -> bool:
        """Give a value a new expiry.

        Args:
            key: The key.
            expire: Seconds (or a timedelta) from now. None: the collection's.

        Returns:
            Whether there is a value, and it has the new expiry.

        Raises:
            UnkeyableArgumentError: The key has no stable form.
            ContendedError: Others changed the value at every attempt.
            ValueError: ``expire`` is not above 0.
        """

        def only_present(found: Any) -> V:
            if found is MISSING:
                raise _NoChangeError
            return found  # type: ignore[no-any-return]

        return self._did_change(key, only_present, self._lifetime(expire))

    def _did_change(
        self, key: K, function: Callable[[Any], V], expire: float | timedelta | None
    ) -> bool:
        try:
            return self._change(key, function, expire) is not None
        except _NoChangeError:
            return False

    def update(
        self,
        key: K,
        function: Callable[[V], V],
        *,
        default: Any = None,
        expire: float | timedelta | None = None,
    ) -> V | None:
        """Replace a value by the result of a function of it.

        If another caller changes the value at the same time, the function is called again with
        the newer value. It should therefore have no side effects.

        Args:
            key: The key.
            function: Takes the present value and returns the new one.
            default: Given to the function if there is no value.
            expire: Seconds (or a timedelta) from now. None: an existing value keeps its expiry, and
                a new one gets the collection's.

        Returns:
            The new value. None: the store is unavailable or refused it; the former value may still
            be stored.

        Raises:
            UnkeyableArgumentError: The key has no stable form.
            ContendedError: Others changed the value `TRIES` times in a row.
            ValueError: ``expire`` is not above 0.
            Exception: That of the function, or of pickle for its result.

        Example::

            carts.update(user.pk, lambda cart: (*cart, "pears"), default=())
        """

        def change(found: Any) -> V:
            return function(default if found is MISSING else found)

        changed = self._change(key, change, expire)
        return None if changed is None else changed[0]

    def _change(
        self, key: K, function: Callable[[Any], V], expire: float | timedelta | None
    ) -> tuple[V] | None:
        """Do the work of `update`. The function also takes MISSING; the result is in a tuple."""
        own = self._lifetime(expire)
        if not self.region.enabled:
            return None
        entry = self._entry(key)
        pause = FIRST_PAUSE
        try:
            for _ in range(TRIES):
                seen = self.region.store.get_for_update(entry)
                found, expires_at = self._present(entry, seen.lookup)
                value = function(found)
                lifetime = (
                    own if found is MISSING or expire is not None else expires_at - time.time()
                )
                if self._compare_and_set(entry, value, seen.lookup, lifetime, seen):
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

    def _present(self, entry: Entry, lookup: Lookup) -> tuple[Any, float]:
        """Return the value or MISSING, and its expiry in seconds since the epoch."""
        if lookup.refused:
            self.region.stats.fault("refused", self._subject, REFUSED)
        record = lookup.record
        expires_at = math.inf if record is None else record.stored_at + record.expire
        return self._value_if_current(entry, lookup), expires_at

    def _compare_and_set(
        self, entry: Entry, value: V, lookup: Lookup, expire: float, seen: LookupForUpdate | None
    ) -> bool:
        if None in lookup.generations:
            raise StoreUnavailableError("refused", "the stored bytes are not a generation")
        record = Record.begun(lookup.generations, expire)
        try:
            # In a tuple, a path or a file is pickled as any value. Bare, it would be content.
            return self.region.store.compare_and_set(entry, (value,), record, expire, seen)
        except UnpicklableError as error:
            raise error.__cause__ or error from None

    def _lifetime(self, expire: float | timedelta | None) -> float:
        if isinstance(expire, timedelta):
            expire = expire.total_seconds()
        lifetime = self._expire if expire is None else expire
        if not lifetime > 0:
            raise ValueError(f"{self._subject}: expire = {expire!r}: give seconds above 0")
        return lifetime

    def _failed(self, error: StoreUnavailableError) -> None:
        self.region.stats.fault(error.kind, self._subject, error)

    def delete(self, key: K) -> None:
        """Delete the value of a key. No later read finds it, in any process.

        Args:
            key: The key.

        Raises:
            UnkeyableArgumentError: The key has no stable form.
        """
        self.region.invalidate_now(self._entry(key).own_scope)

    def clear(self) -> None:
        """Delete all values of this collection, and nothing else."""
        self.region.invalidate_now(frozenset((self._scope,)))


class _NoChangeError(Exception):
    """The change is not made: the stored value stays."""
