"""The contract of a store: where a region keeps its entries.

A store keeps three kinds of things:

records
    one for each entry, as sealed bytes (`beaker_regions.entries.records`);
generations
    one for each *scope*: the entry itself, its function, each of its tags, its region. A generation
    is a random value. A record carries the generations under which its load began, and is valid
    only while they are current. So one write, which changes one generation, invalidates every
    record of that scope, even those that are still being loaded;
leases
    at most one for each entry: its holder loads, others wait (`beaker_regions.engine.waiting`).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from beaker_regions.config.options import ATOMIC_TYPES_TEXT
from beaker_regions.entries.content import is_content, keep_open
from beaker_regions.entries.entry import Entry, Lookup
from beaker_regions.entries.records import (
    Codec,
    OtherFormatError,
    Record,
    RecordRefusedError,
    Signer,
    dump_value,
    load_value,
)
from beaker_regions.errors import StoreUnavailableError, UnpicklableError
from beaker_regions.runtime.interruptions import is_interruption

SETTLING = 0.0005, 0.001, 0.002, 0.004
"""Seconds between reads of generations that are being changed."""


class Stored(NamedTuple):
    """The result of a write."""

    value: Any
    """The value to hand out: the same value, or the file of stored content."""
    load_seconds: float
    """How long its load took, until all of its content was read."""


class LookupForUpdate(NamedTuple):
    """A lookup, and a token by which the store finds out whether its record is still there."""

    lookup: Lookup
    token: Any
    """Only the store understands it."""


class Reading(ABC):
    """A read that a store has begun for a task of the running event loop."""

    answers: Sequence[asyncio.Future[Any]]
    """The task awaits them; none of them has an exception."""

    @abstractmethod
    def lookup_in_loop(self) -> Lookup | None:
        """Return what was read, once the answers are there. Returns None if a thread has to call
        `lookup`: it takes a millisecond, or the store or the record is not in order."""

    @abstractmethod
    def lookup(self) -> Lookup:
        """Return what was read, once the answers are there. Raises StoreUnavailableError."""


EVERYBODY = "everybody"
"""The owner of a store that other hosts use, too."""

MOST_LEVEL = 6
"""How often a lease's time is doubled at most."""


class Lease(NamedTuple):
    """The right to load an entry, and the turn of its holder."""

    turn: bytes
    """Random: a new one each time that the lease is taken. Empty: unknown at this moment."""
    level: int = 0
    """How many holders in a row let their time run out. Each time the lease lasts twice as long."""
    ends: float = math.inf
    """The earliest end of a lease of this caller, by this process's monotonic clock."""
    mine: bool = False
    """Whether this caller has just taken it."""


class GoneError(LookupError):
    """A record's content was removed after the record was read."""


class Counters(ABC):
    """Whole numbers with an atomic addition: the additions of all callers count. They are not
    entries: no generation covers them. Every method may raise StoreUnavailableError."""

    @abstractmethod
    def add(self, address: bytes, amount: int, seconds: float) -> int:
        """Add to a number and return it. A missing number begins at 0. It is removed after
        ``seconds``, however often it is added to."""

    @abstractmethod
    def value(self, address: bytes) -> int:
        """Return a number; 0 where there is none."""

    @abstractmethod
    def reset(self, address: bytes) -> None:
        """Set a number to 0."""


class Together:
    """Values that are brought to disk together. This one is of a store that has nothing to bring
    there."""

    def joined(self) -> AbstractContextManager[None]:
        """Within this block, small content that the running code stores is not synced by itself.

        Example::

            with together.joined():
                read_file("a.txt")
        """
        return contextlib.nullcontext()

    def grew(self, size: int) -> None:
        """Note that ``size`` more bytes were stored, fewer if it is negative."""

    def take(self) -> int:
        """Return the bytes that were stored and are not counted yet. The caller counts them, by
        `grew`: perhaps in another process."""
        return 0

    def count(self) -> None:
        """Count the bytes that were stored, and evict others if they are too many."""

    def sync(self) -> None:
        """Bring all that was stored within `joined` to disk.

        Raises:
            StoreUnavailableError: The disk is full, or broken. Entries may be lost.
        """


def _not_atomic() -> StoreUnavailableError:
    return StoreUnavailableError(
        "not_atomic", f"a store of this type only gets and sets; use {ATOMIC_TYPES_TEXT}"
    )


class Store(ABC):
    """Keeps entries. Every method may raise StoreUnavailableError; other errors are named in its
    description.

    Instances are shared by threads and survive a fork.
    """

    counters: Counters | None = None
    """None: it has no atomic changes."""
    is_shared = True
    """Whether other hosts may use it, and may reach it while this host cannot."""
    folder: Path | None = None
    """The folder of the entries; None if they are not in a folder."""

    @property
    def generation_store(self) -> Store:
        """The store that keeps the generations. An invalidation there also invalidates here."""
        return self

    def owner(self) -> str | None:
        """Return a name that is the same in every process that sees the same entries, and in no
        other: `EVERYBODY` if other hosts see them, None if no other process does."""
        return EVERYBODY

    @abstractmethod
    def read(self, entry: Entry) -> Lookup:
        """Look up an entry's record and generations, in one round trip."""

    def begin_read(self, entry: Entry) -> Reading | None:
        """Begin `read` for a task of the running event loop, without waiting. Returns None if only
        a thread can read it now."""
        return None

    def read_uncached(self, entry: Entry) -> Lookup:
        """As `read`, without this process's own copies: another may just have stored a record."""
        return self.read(entry)

    def read_many(self, entries: Iterable[Entry]) -> list[Lookup | StoreUnavailableError]:
        """As `read` for each of ``entries``, in as few round trips as possible. For an entry that
        cannot be read now, the list has a StoreUnavailableError, which is not raised."""
        return [attempted(self.read, entry) for entry in entries]

    @abstractmethod
    def read_for_load(self, entry: Entry) -> Lookup:
        """As `read`, and make the missing generations: a load may begin now. A generation that is
        still being changed after a moment is None: the loaded value must not be stored."""

    @abstractmethod
    def write(self, entry: Entry, value: Any, record: Record, ttl: float) -> Stored:
        """Store ``value`` under the record's generations and dates, for ``ttl`` seconds at least
        (infinity: for ever). The store fills in the record's codec and payload
        (`Record.with_payload`).

        An error of reading the content is raised as it is: it is a failure of the function, not of
        the store.
        """

    def get_for_update(self, entry: Entry) -> LookupForUpdate:
        """As `read_for_load`, before a `compare_and_set`."""
        raise _not_atomic()

    def compare_and_set(
        self, entry: Entry, value: Any, record: Record, ttl: float, seen: LookupForUpdate | None
    ) -> bool:
        """As `write`, if the entry still has the record that was ``seen``, or still has none;
        ``seen`` None: in any case. Returns False if it has another record. Takes no content.

        It is atomic among calls of itself: such an entry must not be written in any other way.
        """
        raise _not_atomic()

    @abstractmethod
    def invalidate(self, scopes: Iterable[str], during: Callable[[], None] | None = None) -> None:
        """Change the generations of ``scopes``. When this returns, no later read finds a current
        record whose load began before the call, or that is made of such a record.

        Calls ``during`` once or more: after all existing records have stopped being current, and
        before any newly loaded one can be stored.

        If it raises StoreUnavailableError, the store keeps the invalidation as pending, and answers
        no read before it was applied. If a signal handler's exception ends it, the caller calls
        `keep_pending`.
        """

    def discard(self, entry: Entry) -> None:
        """Free the room that an entry takes. A load that is under way may store it again, and a
        process that has just read it may do so once more. Raises StoreUnavailableError."""
        self.invalidate(entry.own_scope)

    @abstractmethod
    def keep_pending(self, scopes: Iterable[str]) -> None:
        """Keep an interrupted invalidation as pending: the store answers no read before it was
        applied. Waits for no server."""

    def together(self) -> Together:
        """Return what brings many values to disk at once."""
        return Together()

    def cover(self, scope: str) -> None:
        """Note a scope that covers all entries of a region here. A store invalidates it if it
        cannot read which invalidations are pending."""
        return

    @abstractmethod
    def acquire(self, entry: Entry, seconds: float, over: bytes = b"") -> Lease:
        """Take the entry's lease for ``seconds``, by one atomic step, or return another caller's.

        A lease of the turn ``over`` is taken away from its holder, for twice its time. Of all
        callers that try this, one succeeds.
        """

    @abstractmethod
    def release(self, entry: Entry, lease: Lease) -> None:
        """Give back a lease that this caller took."""

    def is_progressing(self, entry: Entry, seconds: float) -> bool:
        """Whether the lease's holder has stored more content in the last ``seconds``: large content
        takes long."""
        return False

    def parts(self) -> frozenset[bytes]:
        """Return the addresses of entries of whose content a part has arrived."""
        return frozenset()

    def value(self, entry: Entry, record: Record) -> Any:
        """Return a record's value. Raises GoneError if the entry has another record by now, or
        none. May raise any error if the record is of an older release."""
        return load_value(record)

    def digest(self, entry: Entry, record: Record) -> str:
        """Return the SHA-256 of a record's content, in hexadecimal, without opening it. Raises
        GoneError if there is none."""
        raise GoneError

    def pass_through(self, value: Any) -> Any:
        """Return the form in which a loaded value is handed out if it was not stored."""
        return keep_open(value) if is_content(value) else value


def attempted(read: Callable[..., Lookup], *args: Any) -> Lookup | StoreUnavailableError:
    """Return what a read returns, or its StoreUnavailableError, which is not raised."""
    try:
        return read(*args)
    except StoreUnavailableError as error:
        return error


def opened(
    signer: Signer, entry: Entry, sealed: bytes | None, generations: tuple[bytes | None, ...]
) -> Lookup:
    """Return the lookup of an entry with these stored bytes, which are authenticated here."""
    if sealed is None:
        return Lookup(None, generations)
    try:
        return Lookup(signer.open(entry.address, sealed), generations)
    except RecordRefusedError as error:
        return Lookup(None, generations, refused=not isinstance(error, OtherFormatError))


def refuse_content(value: Any) -> None:
    """Raise StoreUnavailableError for content, which only files can hold."""
    if is_content(value):
        raise StoreUnavailableError(
            "content", "files and streams belong in a region of type 'file'"
        )


def dump(value: Any) -> tuple[Codec, bytes]:
    """As `dump_value`; raises StoreUnavailableError for a value that cannot be pickled."""
    try:
        return dump_value(value)
    except Exception as error:
        if is_interruption(error):
            raise
        raise UnpicklableError(f"the value cannot be pickled: {error!r}") from error
