"""Polls the outbox, so that no process reads past an invalidation of another host.

**Why a host that is cut off from a server makes no other host stale.** A process reads a shared
store only if it polled the table within the last `POLL_IDLE` seconds, or the last `POLL_BUSY`
seconds while there are unclaimed rows. A poll applies the rows that it finds to the servers that
can be reached. For a server that cannot be reached, the invalidation is pending in this process
too, and is applied before that server is read again. A host that could not apply its invalidation
leaves a row, and returns when another process has applied it, or when every poll that did not see
the row is too old to read by. It need not know the other hosts.

If the database cannot be read, stores are still read: hosts that are cut off from it go on with
their last poll. They miss an invalidation only if another host is cut off from a server at the
same time.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from functools import partial
from typing import Any, NamedTuple

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from beaker_regions.django.coroutines import is_open
from beaker_regions.django.outbox.applying import (
    Applier,
    alias,
    discard_old_rows,
    explained,
    on_a_live_connection,
    unclaimed,
)
from beaker_regions.django.outbox.models import PendingInvalidation
from beaker_regions.runtime.interruptions import is_interruption

logger = logging.getLogger("beaker_regions.django.outbox")

POLL_IDLE = 1.0
"""Seconds for which a poll is valid that found no unclaimed row."""
POLL_BUSY = 0.1
"""Seconds for which a poll is valid that found one: a server is away, and changes are pending."""
RETRY_AFTER = 5.0
"""Seconds, at least, between two attempts to apply rows that could not be applied before."""
BACK_OFF = 10
"""After a failed poll, the next one waits this many times as long as the failed one took: an
unresponsive database takes at most a tenth of a process's time."""
DISCARD_EVERY = 3600.0
"""Seconds between two times that old rows are discarded."""
_STEP = 0.02
"""Seconds between two queries of a process that waits for others to apply its rows."""


class Sighting(NamedTuple):
    """A row that has been unclaimed since a moment of this host's clock, or longer."""

    row: dict[str, Any]
    """Its key and its time: if the table is created again, its keys start again."""
    since: float


class OutboxPoller:
    """The state of this process's polls; all of its threads share it."""

    def __init__(self) -> None:
        self._applier = Applier()
        self._valid_until = 0.0
        self._retry_at = 0.0
        self._discarded_at = 0.0
        self._sighting: Sighting | None = None

    def at_request(self, **_: Any) -> None:
        """Poll if the last poll is no longer valid; the request closes its connection."""
        if time.monotonic() >= self._valid_until:
            self._try_to_poll()

    @property
    def is_valid(self) -> bool:
        """Whether the last poll is still valid."""
        return time.monotonic() < self._valid_until

    def is_current(self) -> bool:
        """Whether this process knows of all unclaimed rows; polls if the last poll is no longer
        valid. False inside a transaction, which may see an old snapshot."""
        if time.monotonic() < self._valid_until:
            return True
        connection = connections[alias()]
        if is_open(connection):
            return False
        was_open = connection.connection is not None
        try:
            return self._try_to_poll()
        finally:
            # This may be a thread without requests, where Django closes no connection.
            if not was_open and connection.connection is not None:
                connection.close()

    def _try_to_poll(self) -> bool:
        """Poll. Returns whether stores may be read: also if the database cannot be read."""
        started = time.monotonic()
        connection = connections[alias()]
        # assertNumQueries, and others that count queries, count only those of the application.
        log, connection.queries_log = connection.queries_log, deque(maxlen=0)
        try:
            self._valid_until = started + on_a_live_connection(partial(self._poll, started))
        except SynchronousOnlyOperation:
            return False
        except Exception as error:
            if is_interruption(error):
                raise
            # A caller never gets an error of the database, or of anything else that failed here.
            logger.warning("the outbox cannot be read: %s", explained(error))
            _close_if_broken(connection)
            now = time.monotonic()
            self._valid_until = now + max(POLL_IDLE, BACK_OFF * (now - started))
        finally:
            connection.queries_log = log
        return True

    def _poll(self, now: float) -> float:
        """Apply the unclaimed rows. Returns for how many seconds this poll is valid."""
        if now >= self._discarded_at + DISCARD_EVERY:
            self._discarded_at = now
            discard_old_rows()
        if not unclaimed().exists():
            self._sighting = None
            return POLL_IDLE
        self._sight()
        if now < self._retry_at:
            applied = self._applier.apply_recent()
        else:
            self._retry_at = now + RETRY_AFTER
            applied = self._applier.apply()
        if applied:
            logger.warning("applied %d pending invalidations of other processes", applied)
        return POLL_BUSY

    def _sight(self) -> Sighting | None:
        """Return an unclaimed row of a store that all hosts share, and since when this process
        has seen it; None if there is none. As long as the row stays, it is the same one."""
        rows = unclaimed(everybodys=True)
        sighting = self._sighting
        if sighting is None or not rows.filter(**sighting.row).exists():
            row = rows.order_by("created_at").values("pk", "created_at").first()
            sighting = None if row is None else Sighting({**row}, time.monotonic())
            self._sighting = sighting
        return sighting

    def wait_for_others(self, rows: list[int]) -> None:
        """Wait until rows that became unclaimed a moment ago are applied, or every process that
        reads knows of them. Raises DatabaseError."""
        started = time.monotonic()
        sighting = on_a_live_connection(self._sight)
        others_are_busy = sighting is not None and sighting.since <= started - POLL_IDLE
        until = started + (POLL_BUSY if others_are_busy else POLL_IDLE)
        pending = PendingInvalidation.objects.using(alias()).filter(pk__in=rows)
        while (now := time.monotonic()) < until and pending.exists():
            time.sleep(min(_STEP, until - now))


def _close_if_broken(connection: BaseDatabaseWrapper) -> None:
    try:
        connection.close_if_unusable_or_obsolete()
    except Exception as error:
        if is_interruption(error):
            raise
        # It cannot be asked either, as in a test that may not use the database.
