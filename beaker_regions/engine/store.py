"""What a region asks of the place that holds its entries.

A store keeps three kinds of things:

records
    one an entry, sealed bytes (`beaker_regions.entries.records`);
generations
    one a *scope*: the entry itself, its function, each of its tags, its region. A generation is
    a random value. A record carries the generations under which its load began, and counts only
    while they are the current ones; so changing one generation, one write, invalidates every
    record of that scope, those that are still being loaded included;
leases
    at most one an entry: who holds it loads, the others wait (`beaker_regions.engine.waiting`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from beaker_regions.entries.records import Codec, Record, dump_value, load_value
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.runtime.interruptions import is_interruption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from beaker_regions.entries.entry import Entry, Lookup


SETTLING = 0.0005, 0.001, 0.002, 0.004
"""Seconds between looks at generations that are being changed."""


class LookupForUpdate(NamedTuple):
    """A lookup, and what tells whether its record is still there."""

    lookup: Lookup
    token: Any
    """The store's own."""


EVERYBODY = "everybody"
"""The owner of a store that other hosts use too."""

MOST_LEVEL = 6
"""How often a lease's time is doubled, at the most."""


class Lease(NamedTuple):
    """Whose turn it is to load an entry."""

    turn: bytes
    """Random: another one each time that the lease is taken. Empty: nobody can say now."""
    level: int = 0
    """How many in a row have let their time go by: it lasts for twice as long each time."""
    ends: float = math.inf
    """When it ends at the soonest, by this process's monotonic clock; of one's own."""
    mine: bool = False
    """Whether it was just taken."""


class GoneError(LookupError):
    """A record's content went with it, after it was read."""


class Counters(ABC):
    """Whole numbers that are counted up at once: of any number of callers each counts. They are
    no entries: no generation covers them. Every method may raise StoreUnavailableError."""

    @abstractmethod
    def add(self, address: bytes, amount: int, seconds: float) -> int:
        """Add to a number and return it. One that was not there begins at 0, and is gone after
        ``seconds``, however often it is added to."""

    @abstractmethod
    def value(self, address: bytes) -> int:
        """Return a number; 0 where there is none."""

    @abstractmethod
    def reset(self, address: bytes) -> None:
        """Let a number begin anew."""


class NoCounters(Counters):
    """Of a store that cannot add at once."""

    def add(self, address: bytes, amount: int, seconds: float) -> int:
        raise _not_atomic()

    def value(self, address: bytes) -> int:
        raise _not_atomic()

    def reset(self, address: bytes) -> None:
        raise _not_atomic()


def _not_atomic() -> StoreUnavailableError:
    return StoreUnavailableError(
        "not_atomic", "a store of this type only gets and sets; use 'file' or 'ext:memcached'"
    )


class Store(ABC):
    """A place for entries. Every method may raise StoreUnavailableError; what else it may raise,
    its description says.

    Instances are shared by threads and survive a fork.
    """

    counters: Counters = NoCounters()
    is_shared = True
    """Whether other hosts may use it, and reach it while this one cannot."""
    folder: Path | None = None
    """The folder that the entries lie in; None where they lie in none."""

    @property
    def generation_store(self) -> Store:
        """The store that says what is current: what is invalidated there, is here as well."""
        return self

    def owner(self) -> str | None:
        """Return what this store has in common with those of other processes that see the same
        entries, and with no others: `EVERYBODY` where other hosts do, None where no process
        does."""
        return EVERYBODY

    @abstractmethod
    def read(self, entry: Entry) -> Lookup:
        """Look up an entry's record and generations, in one round trip."""

    def read_uncached(self, entry: Entry) -> Lookup:
        """As `read`, and nothing that this process remembers: somebody may just have stored it."""
        return self.read(entry)

    def read_many(self, entries: Iterable[Entry]) -> list[Lookup | StoreUnavailableError]:
        """As `read` for each of ``entries``, in as few round trips as can be. What cannot be read
        for now is a StoreUnavailableError in its place, which is not raised."""
        return [self._try_read(entry) for entry in entries]

    def _try_read(self, entry: Entry) -> Lookup | StoreUnavailableError:
        try:
            return self.read(entry)
        except StoreUnavailableError as error:
            return error

    @abstractmethod
    def read_for_load(self, entry: Entry) -> Lookup:
        """As `read`, but make the generations that are missing: a load may begin now. Those that
        are still being changed after a moment are None: what is loaded is not to be stored."""

    @abstractmethod
    def write(self, entry: Entry, value: Any, record: Record, ttl: float) -> Any:
        """Store ``value`` under the record's generations and dates, for ``ttl`` seconds at least
        (infinity: for good). The record's codec and payload are for the store to fill in.

        Returns the value to hand out: the same, or what stands for stored content. Raises what
        reading the content raises: that is the function's failure, not the store's.
        """

    def get_for_update(self, entry: Entry) -> LookupForUpdate:
        """As `begin`, to `exchange` what is there."""
        raise _not_atomic()

    def compare_and_set(
        self, entry: Entry, value: Any, record: Record, ttl: float, seen: LookupForUpdate | None
    ) -> bool:
        """As `write`, if the entry's record, or its absence, is still the one that was seen; None:
        whatever is there. Returns False when it is another. No content.

        Atomic among exchanges: an entry that is exchanged is not written in any other way.
        """
        raise _not_atomic()

    @abstractmethod
    def invalidate(self, scopes: Iterable[str], during: Callable[[], None] | None = None) -> None:
        """Change the generations of ``scopes``. When this returns, no later read matches a
        record whose load began before the call, or that is made of such a record.

        ``during`` is called, once or more often, when no record of before matches any more,
        and none is stored yet that is loaded from then on.

        When it raises StoreUnavailableError, the store has kept the invalidation, and will not
        answer a read before it has been carried out. When a signal handler's exception ends it, the
        caller lets the store `keep_pending` it.
        """

    @abstractmethod
    def keep_pending(self, scopes: Iterable[str]) -> None:
        """Keep an invalidation that was interrupted: the store answers no read before it has been
        carried out. Waits for no server."""

    def cover(self, scope: str) -> None:
        """Be told of a scope that covers all that a region keeps here."""
        return

    @abstractmethod
    def acquire(self, entry: Entry, seconds: float, over: bytes = b"") -> Lease:
        """Take the entry's lease for ``seconds``, by one atomic step, or return whose it is.

        The one of the turn ``over`` is taken away from who has it, for twice the time that it had,
        by one of all who try it.
        """

    @abstractmethod
    def release(self, entry: Entry, lease: Lease) -> None:
        """Give back a lease of one's own."""

    def is_progressing(self, entry: Entry, seconds: float) -> bool:
        """Whether who has the lease is known to have got on in the last ``seconds``: content
        takes as long as it is large."""
        return False

    def value(self, entry: Entry, record: Record) -> Any:
        """Return a record's value. Raises Gone when another record, or none, has taken its place;
        may raise anything when the record is of an older release."""
        return load_value(record)

    def pass_through(self, value: Any) -> Any:
        """Return what to hand out for a loaded value that was not stored."""
        return value


def dump(value: Any) -> tuple[Codec, bytes]:
    """As `dump_value`; raises StoreUnavailableError for a value that cannot be pickled."""
    try:
        return dump_value(value)
    except Exception as error:
        if is_interruption(error):
            raise
        raise StoreUnavailableError("unpicklable", repr(error)) from error
