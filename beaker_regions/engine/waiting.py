"""What a caller may take while it waits for another's load, and for how long it waits.

A caller that finds nothing and does not get the entry's lease looks again now and then. What it
finds may have been invalidated since: where a change comes more often than a load ends, that is so
of all that is ever stored, and a caller that insisted on a current record would wait for a load
that nobody can use, then for the next one, and so on. So it takes a record also if one of two
things tells it that the load of this record began under generations that were current at some
moment of its own call:

seen
    It has read these very generations during its call.
since
    The record is from a turn that was taken during its call. Each time that a lease is taken it
    gets another random turn, by one atomic step (`beaker_regions.engine.store.Store.acquire`). So
    who has seen one turn, and later another, knows that the other one was taken in between, and the
    load of a turn takes its generations after that. The first turn that a caller sees may have been
    taken before its call, and tells nothing. A record carries the turn in which it was loaded; of
    those that were loaded without a lease there is none.

**Why such a value is not stale.** Let an invalidation return before a call begins. It has changed
the generation of each of its scopes by then, and none ever comes back. The record's generation of
such a scope was current at some moment of the call, so it was made after that change; the load took
it after it was made, so the load began after the change, and read what had been written before the
invalidation. Each scope speaks for itself: it is no matter whether all generations of the record
were ever current at once.

**Why a value that is made of it is not stale either.** Let the load of a page take a fragment in
this way, and let the page be stored and be current after an invalidation that covers both. Then the
load of the page took its generations after the change was over for all scopes of the invalidation,
on all servers and in all stores (`beaker_regions.stores.memcached.generations`,
`beaker_regions.stores.files.generations`, `beaker_regions.engine.invalidation`): until then it is
given a tombstone, or nothing, under which nothing is stored. It asked for the fragment after
that. So the fragment's generations, which were current at a moment later still, are of after the
change, and the argument above holds for the fragment's load, and for what that was made of. Who
notes an entry's generations to find out later whether a value was invalidated has to read them
before it asks for the value (`beaker_regions.django.pages.dependencies.dependency_on`): for this
reason nothing counts as seen that was read before `beaker_regions.engine.loading.Loading.load` was
called.

A value that names what it is made of, and counts only while that is current (pages, of fragments:
`beaker_regions.django.pages.dependencies`), is asked for that as well when it was "seen": its load
may have begun before the call, with a fragment that was invalidated in between. One from a turn
"since" is not: all that it is made of was asked for during the call.

Who has a transaction open, or an invalidation pending that covers the entry, does not wait, and
takes nothing.

**How long.** The turn that a caller finds may be as good as over, and of no use to it; the next one
gives it a value. If that one ends, and not because its time is over, and there is no value, then
the load has failed or its value is not to be stored, and the caller loads by itself. So it waits
for two loads at the most, of which it sees one from its beginning. A lease whose time is over, as
seen by one who has waited for so long, is taken over by one of those who wait, for twice that time:
each time the next one, so that a load which takes ten times as long as a lease is made four times,
however many wait for it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from beaker_regions.engine.store import Lease

if TYPE_CHECKING:
    from beaker_regions.entries.entry import Lookup
    from beaker_regions.entries.records import Record

FIRST_WAIT = 0.002
"""Seconds before a waiting caller looks again for the first time."""
LONGEST_WAIT = 0.05
"""Seconds between two looks, at the most: times grow by half from the first wait up to this."""
_NEARLY = 0.9
"""The part of a lease's time after which it was taken over, and not given back: who waits does not
see it to the moment."""
_MOST_BRIEF = 3
"""Turns that may end between two looks: who finds a value behind its lease gives it back at once,
and has not loaded in vain."""


class Waiter:
    """One call that waits; a lease lasts ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lease = Lease(b"")
        """The one that it waits for."""
        self._first = b""
        self._since: set[bytes] = set()
        """The turns that were taken during the call."""
        self._seen: set[tuple[bytes | None, ...]] = set()
        """The generations that were current during the call."""
        self._looks = 0
        """How often it was found with this lease."""
        self._waited = 0.0
        """Seconds, for this lease."""
        self._ended = 0
        self._pause = FIRST_WAIT
        self.in_vain = False
        """Whether a load that began during the call has ended: in vain, if there is no value."""
        self.is_stuck = False
        """Whether a lease whose time is over could not be taken over."""

    def refused(self, lease: Lease) -> None:
        """Learn who has the lease, after an attempt to take it, or to take it over."""
        if lease.turn in (b"", self._lease.turn):
            self._looks += 1
            # Nobody can say whose it is while another is about to take it, or stopped in that.
            patience = self._patience if lease.turn else 2 * self._patience
            self.is_stuck = self._waited >= patience
            return
        if self._first in (b"", lease.turn):
            self._first = lease.turn
        else:
            self._since.add(lease.turn)
            if self._lease.turn in self._since and self._waited < _NEARLY * self._patience:
                self._ended += _MOST_BRIEF if self._looks > 1 else 1
            self.in_vain = self._ended >= _MOST_BRIEF
        self._lease = lease
        self._looks = 1
        self._waited = 0.0

    def pause(self) -> float:
        """Return for how many seconds to wait before the next look."""
        self._pause = min(self._pause * 1.5, LONGEST_WAIT) * random.uniform(0.75, 1.0)
        self._waited += self._pause
        return self._pause

    def saw(self, lookup: Lookup | None) -> None:
        """Learn what is current."""
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
        """The turn that may be taken over; none: it has time left."""
        return self._lease.turn if self.is_over else b""

    def renew(self) -> None:
        """Wait for the same lease once more."""
        self._waited = 0.0
