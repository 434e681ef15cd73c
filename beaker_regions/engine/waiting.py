"""Waiting for another caller's load: the values that a caller may take, and how long it waits.

A caller that finds no current record, and does not get the entry's lease, reads the entry again at
intervals. A record that it finds may have been invalidated since. If changes come more often than a
load ends, that is true of every record that is ever stored. A caller that insisted on a current
record would wait for one load after another, and could use none of them. So it also takes a record
if one of two facts proves that the record's load began under generations that were current at some
moment of the caller's own call:

seen
    The caller has read these very generations during its call.
since
    The record belongs to a turn that was taken during the call. Each time that a lease is taken it
    gets a new random turn, by one atomic step (`beaker_regions.engine.store.Store.acquire`). If a
    caller sees one turn and later another, the second one was taken in between, and the load of a
    turn reads its generations after that. The first turn that a caller sees may have been taken
    before its call, and proves nothing. A record carries the turn in which it was loaded; a record
    that was loaded without a lease carries none.

**Why such a value is not stale.** Let an invalidation return before a call begins. By then it has
changed the generation of each of its scopes, and an old generation never comes back. The record's
generation of such a scope was current at some moment of the call, so it was made by that change or
later. The load read it after it was made. So the load began after the change, and read what had
been written before the invalidation. This holds for each scope alone: the generations of the record
need not have been current all at one moment.

**Why a value that is made of it is not stale either.** Let the load of a page take a fragment in
this way. Let the page be stored, and be current after an invalidation that covers both. Then the
load of the page read its generations after the change had ended for all scopes of the invalidation,
on all servers and in all stores (`beaker_regions.stores.servers.generations`,
`beaker_regions.stores.files.generations`, `beaker_regions.engine.invalidation`): before that end, a
load finds a tombstone, or nothing, and is not stored. The load asked for the fragment later still.
So the fragment's generations, which were current at an even later moment, are of after the change.
The argument above then holds for the fragment's load, and for all values that it was made of. A
caller that notes an entry's generations, to find out later whether a value was invalidated, has to
read them before it asks for the value (`beaker_regions.django.pages.dependencies.dependency_on`).
For this reason, generations that were read before `beaker_regions.engine.loading.load` was called
do not count as seen.

A page names the fragments that it is made of, and counts only while they are current
(`beaker_regions.django.pages.dependencies`). If such a value was "seen", that is checked too: its
load may have begun before the call, with a fragment that was invalidated in between. If it belongs
to a turn "since", it is not checked: its load asked for all fragments during the call.

A caller that has a transaction open, or a pending invalidation that covers the entry, does not
wait, and takes nothing.

**How long.** The turn that a caller finds may be nearly over, and of no use to it; the next turn
gives it a value. If that turn ends before its time is over, and there is no value, then the load
has failed or its value is not stored, and the caller loads by itself. So it waits for at most two
loads, and sees one of them from its beginning. If a lease's time is over, as measured by a caller
that has waited that long, one of the waiting callers takes it over, for twice that time. The time
doubles with each turn. So a load that takes ten times as long as a lease is made four times,
however many callers wait for it.
"""

from __future__ import annotations

import random

from beaker_regions.engine.store import Lease
from beaker_regions.entries.entry import Lookup
from beaker_regions.entries.records import Record

FIRST_WAIT = 0.002
"""Seconds before a waiting caller reads the entry again for the first time."""
LONGEST_WAIT = 0.05
"""Most seconds between two reads: the time grows by half from the first wait up to this."""
_NEARLY = 0.9
"""If a lease was held for more than this part of its time, it was taken over, and not given back: a
waiting caller does not see the exact moment."""
_MOST_BRIEF = 3
"""Turns that may end between two reads. A caller that finds a value once it has the lease gives the
lease back at once: such a turn is no failed load."""


class Waiter:
    """One waiting call. A lease lasts for ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lease = Lease(b"")
        """The lease that it waits for."""
        self._first = b""
        self._since: set[bytes] = set()
        """The turns that were taken during the call."""
        self._seen: set[tuple[bytes | None, ...]] = set()
        """The generations that were current during the call."""
        self._reads = 0
        """How often it found this lease taken."""
        self._waited = 0.0
        """Seconds, for this lease."""
        self._ended = 0
        self._pause = FIRST_WAIT
        self.in_vain = False
        """Whether a load that began during the call has ended: it failed if there is no value."""
        self.is_stuck = False
        """Whether a lease whose time is over could not be taken over."""

    def refused(self, lease: Lease) -> None:
        """Note the lease that another caller holds, after an attempt to take it (over)."""
        if lease.turn in (b"", self._lease.turn):
            self._reads += 1
            # The holder is unknown while a caller takes the lease, or was stopped while it did.
            patience = self._patience if lease.turn else 2 * self._patience
            self.is_stuck = self._waited >= patience
            return
        if self._first in (b"", lease.turn):
            self._first = lease.turn
        else:
            self._since.add(lease.turn)
            if self._lease.turn in self._since and self._waited < _NEARLY * self._patience:
                self._ended += _MOST_BRIEF if self._reads > 1 else 1
            self.in_vain = self._ended >= _MOST_BRIEF
        self._lease = lease
        self._reads = 1
        self._waited = 0.0

    def pause(self) -> float:
        """Return how many seconds to wait before the next read."""
        self._pause = min(self._pause * 1.5, LONGEST_WAIT) * random.uniform(0.75, 1.0)
        self._waited += self._pause
        return self._pause

    def saw(self, lookup: Lookup | None) -> None:
        """Note the current generations."""
        if lookup is not None:
            self._seen.add(lookup.generations)

    def may_take(self, record: Record) -> bool:
        """Whether a record was loaded under generations that were current during the call."""
        return record.generations in self._seen or self.began_since(record)

    def began_since(self, record: Record) -> bool:
        """Whether the load of a record began during the call."""
        return record.turn in self._since

    @property
    def _patience(self) -> float:
        return self._seconds * 2.0**self._lease.level

    @property
    def is_over(self) -> bool:
        """Whether the lease has lasted for its time while this caller waited."""
        return self._waited >= self._patience

    @property
    def over(self) -> bytes:
        """The turn that may be taken over; empty: its time is not over."""
        return self._lease.turn if self.is_over else b""

    def renew(self) -> None:
        """Wait for the same lease once more."""
        self._waited = 0.0
