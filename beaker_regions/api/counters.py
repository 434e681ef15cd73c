"""Counters: numbers in a region that many processes add to. No addition is lost.

A counter is not a cached value. Only its expiry and `Counter.reset` set it back. On files it
survives restarts; memcached may forget it, as it may forget every item. If the store is
unavailable, nothing is counted and `Counter.add` returns None. The region logs this once and
counts it among its faults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from beaker_regions.engine.region import Region
from beaker_regions.engine.store import Counters
from beaker_regions.entries.entry import address_of
from beaker_regions.entries.keys import encoded_key
from beaker_regions.errors import StoreUnavailableError

T = TypeVar("T")

MOST_AT_ONCE = 2**32 - 1


class Counter:
    """A number that any number of threads, processes and hosts add to.

    It starts at 0, and returns to 0 ``expire`` seconds after the first addition; later additions
    do not prolong this. Memcached counts whole seconds, so there it may last up to 2 s longer.
    `CacheManager.counter` makes it.

    Example::

        failures = cache.counter("functions", "sign-in", address, expire=15 * 60)
        if (failures.add() or 0) > 5: ...
    """

    def __init__(self, region: Region, name: str, key: tuple[object, ...], expire: float) -> None:
        """Make a counter; `CacheManager.counter` is the usual way.

        Args:
            region: The region that stores it.
            name: The name of the counter.
            key: What is counted; each key is a counter of its own.
            expire: Seconds after the first addition; infinity: never.

        Raises:
            ConfigurationError: The region's store cannot count.
            UnkeyableArgumentError: A part of the key has no stable key.
        """
        region.require_atomic(f"counter {name!r}")
        encoded = encoded_key(f"counter {name!r}", (name, *key))
        self.region = region
        self.name = name
        self._expire = expire
        # The address of a function begins with its encoded identity: no function has this one.
        self._address = address_of(b"a counter", region.name.encode(), encoded)

    def add(self, amount: int = 1) -> int | None:
        """Add to the number.

        Args:
            amount: A number from 1 to 2**32 - 1.

        Returns:
            The new sum. None: the store is unavailable, or the region is off.

        Raises:
            ValueError: The amount is out of range.

        Example::

            downloads = cache.counter("files", "downloads", file.pk)
            downloads.add()  # 42, even if others add at the same moment
        """
        if not 0 < amount <= MOST_AT_ONCE:
            raise ValueError(f"counter {self.name!r}: {amount} is not a number from 1 to 2**32 - 1")
        return self._ask(lambda counters: counters.add(self._address, amount, self._expire))

    def value(self) -> int | None:
        """Return the sum.

        Returns:
            The sum; 0 if nothing was added. None: the store is unavailable, or the region is off.
        """
        return self._ask(lambda counters: counters.value(self._address))

    def reset(self) -> None:
        """Set the number back to 0.

        If a memcached server is unavailable, the reset is pending: it is applied before the next
        request to that server.
        """
        self._ask(lambda counters: counters.reset(self._address))

    def _ask(self, ask: Callable[[Counters], T]) -> T | None:
        if not self.region.enabled:
            return None
        counters = self.region.store.counters
        assert counters is not None, "the region was asked for it"
        try:
            return ask(counters)
        except StoreUnavailableError as error:
            self.region.stats.fault(error.kind, f"counter {self.name!r}", error)
            return None
