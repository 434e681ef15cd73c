"""When a process looks into the outbox.

**Why a host that is cut off from a server makes no other one stale.** Nobody reads what other
hosts use too unless a look of this process into the table is younger than `POLL_IDLE`, or
`POLL_BUSY` if there were rows left. A look delivers what it finds to the servers that can be
reached, and what can not is owed here as well, and delivered before that server is read again. Who
could not deliver leaves a row, and returns when another process has delivered it, or when every
look that did not see it is too old to read by. It need not be told who the others are.

A database that cannot be read is no reason not to read what is kept: hosts that are cut off from
it go on with what they last knew, and are behind only if somebody else is cut off from a server
at the same time.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from functools import partial
from typing import Any, NamedTuple

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections

from beaker_regions.django.coroutines import is_open
from beaker_regions.django.outbox.delivery import (
    Delivery,
    alias,
    explained,
    give_up,
    on_a_live_connection,
    unclaimed,
)
from beaker_regions.django.outbox.models import Owed
from beaker_regions.runtime.interruptions import is_interruption

logger = logging.getLogger("beaker_regions.django.outbox")

POLL_IDLE = 1.0
"""Seconds for which a look counts that found nothing left."""
POLL_BUSY = 0.1
"""Seconds for which one counts that found something: some server is away, and changes wait."""
AGAIN = 5.0
"""Seconds between two attempts to deliver what could not be delivered before, at least."""
PATIENCE = 10
"""How many times as long as a look has taken in vain, the next one is put off: a database that
does not answer holds up no process for more than a tenth of its time."""
TIDY = 3600.0
"""Seconds between two times that rows are given up which nobody delivers."""
_STEP = 0.02
"""Seconds between two looks of who waits for a row to be delivered."""


class Sighting(NamedTuple):
    """A row that has been left at least since a moment of this host's clock."""

    row: dict[str, Any]
    """Its key and its time: in a table that is made anew, keys begin anew."""
    since: float


class OutboxPoller:
    """What this process knows of the table; all of its threads share it."""

    def __init__(self) -> None:
        self._delivery = Delivery()
        self._until = 0.0
        self._again = 0.0
        self._tidied = 0.0
        self._sighting: Sighting | None = None

    def at_request(self, **_: Any) -> None:
        """Look if it is time to; a request closes its connection."""
        if time.monotonic() >= self._until:
            self._try_to_look()

    def is_current(self) -> bool:
        """Whether this process knows what has been left; it looks if it is time to. Inside a
        transaction it cannot, which may see an old snapshot."""
        if time.monotonic() < self._until:
            return True
        connection = connections[alias()]
        if is_open(connection):
            return False
        was_open = connection.connection is not None
        try:
            return self._try_to_look()
        finally:
            # This may be a thread that nobody ends a request in.
            if not was_open and connection.connection is not None:
                connection.close()

    def _try_to_look(self) -> bool:
        """Whether nothing speaks against reading."""
        started = time.monotonic()
        connection = connections[alias()]
        # Who counts the queries of a block, such as assertNumQueries, counts the application's.
        log, connection.queries_log = connection.queries_log, deque(maxlen=0)
        try:
            self._until = started + on_a_live_connection(partial(self._look, started))
        except SynchronousOnlyOperation:
            return False
        except Exception as error:
            if is_interruption(error):
                raise
            # A backend's failure is never the caller's, and there are more than the database's.
            logger.warning("the outbox cannot be read: %s", explained(error))
            connection.close_if_unusable_or_obsolete()
            now = time.monotonic()
            self._until = now + max(POLL_IDLE, PATIENCE * (now - started))
        finally:
            connection.queries_log = log
        return True

    def _look(self, now: float) -> float:
        """Deliver what is left. Returns for how many seconds that counts."""
        if now >= self._tidied + TIDY:
            self._tidied = now
            give_up()
        if not unclaimed().exists():
            self._sighting = None
            return POLL_IDLE
        self._sight()
        if now < self._again:
            delivered = self._delivery.deliver_latest()
        else:
            self._again = now + AGAIN
            delivered = self._delivery.deliver()
        if delivered:
            logger.warning("%d invalidations were left behind, and are delivered now", delivered)
        return POLL_BUSY

    def _sight(self) -> Sighting | None:
        """Return a row for everybody that is left now, if there is one; while it is the same one,
        since when this process knows of it."""
        rows = unclaimed(everybodys=True)
        sighting = self._sighting
        if sighting is None or not rows.filter(**sighting.row).exists():
            row = rows.order_by("created_at").values("pk", "created_at").first()
            sighting = None if row is None else Sighting({**row}, time.monotonic())
            self._sighting = sighting
        return sighting

    def wait_for_others(self, rows: list[int]) -> None:
        """Return when some rows that were left a moment ago are delivered, or known to every
        process that reads. Raises DatabaseError."""
        started = time.monotonic()
        sighting = on_a_live_connection(self._sight)
        alarmed = sighting is not None and sighting.since <= started - POLL_IDLE
        until = started + (POLL_BUSY if alarmed else POLL_IDLE)
        owed = Owed.objects.using(alias()).filter(pk__in=rows)
        while (now := time.monotonic()) < until and owed.exists():
            time.sleep(min(_STEP, until - now))
