"""Counting through a region, where getting and setting a number would lose counts.

    downloads = cache.counter("files", "downloads", file.pk)
    downloads.add()             # 42, whoever else counts at the same moment

    tries = cache.counter("functions", "sign-in", address, expire=15 * 60)
    if (tries.add() or 0) > 5: ...

A counter is no cached value: nothing invalidates it but its time and `Counter.reset`. It is
kept as a region's entries are. On files it outlives processes and restarts; a memcached may forget
it, as all that it has. When the store is away nothing is counted and nothing known, which is
logged once and counted among the region's faults: what depends on a count goes on without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from beaker_regions.entries.entry import address_of
from beaker_regions.entries.keys import encode
from beaker_regions.errors import StoreUnavailableError, UnkeyableArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from beaker_regions.engine.region import Region
    from beaker_regions.engine.store import Counters

T = TypeVar("T")

MOST_AT_ONCE = 2**32


class Counter:
    """One number, added to by any number of threads, processes and hosts.

    It begins at 0 and, ``expire`` seconds after the first that is added, begins anew: what is
    added later does not make it last longer. Memcached counts whole seconds; there it may last up
    to two more.
    """

    def __init__(self, region: Region, name: str, key: tuple[object, ...], expire: float) -> None:
        region.require_atomic(f"counter {name!r}")
        try:
            encoded = encode((name, *key))
        except (TypeError, ValueError, RecursionError) as error:
            raise UnkeyableArgumentError(f"counter {name!r}: {key!r}: {error}") from error
        self.region = region
        self.name = name
        self._expire = expire
        # Region names have no space: no function has this address.
        self._address = address_of(b"a counter", region.name.encode(), encoded)

    def add(self, amount: int = 1) -> int | None:
        """Add at least 1, and return the sum; None when the store cannot say."""
        if not 0 < amount < MOST_AT_ONCE:
            raise ValueError(f"counter {self.name!r}: {amount} is not a number from 1 to 2**32 - 1")
        return self._ask(lambda counters: counters.add(self._address, amount, self._expire))

    def value(self) -> int | None:
        """Return the sum; None when the store cannot say."""
        return self._ask(lambda counters: counters.value(self._address))

    def reset(self) -> None:
        """Begin anew. On a memcached that is away, before it is asked for anything else."""
        self._ask(lambda counters: counters.reset(self._address))

    def _ask(self, ask: Callable[[Counters], T]) -> T | None:
        if not self.region.enabled:
            return None
        try:
            return ask(self.region.store.counters)
        except StoreUnavailableError as error:
            self.region.stats.fault(error.kind, f"counter {self.name!r}", error)
            return None
