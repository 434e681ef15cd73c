"""From the rows of the outbox to the regions."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, router

from regions.django.outbox.models import DatabaseNow, Owed
from regions.django.transactions import DatabaseTransactions
from regions.region import regions_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

logger = logging.getLogger("regions.django.outbox")

IN_FLIGHT = 5.0
"""Seconds for which a row is left to the process that wrote it."""
FORGOTTEN = timedelta(days=7)
"""After which a row is given up: no process that is left has its region, or can reach it."""
INTERVAL = 5.0
"""Seconds between two looks of a process into the table, at least."""
PATIENCE = 10
"""How many times as long as a look has taken in vain, the next one is put off: a database that
does not answer holds up no process for more than a tenth of its time."""
_AT_ONCE = 500
"""Rows that are deleted in one statement; databases limit its size."""


class OutboxTransactions(DatabaseTransactions):
    """Transactions whose invalidations outlive the process."""

    def on_commit(
        self, alias: str, region: str, scopes: frozenset[str], deliver: Callable[[], bool]
    ) -> Callable[[], bool]:
        if alias != _alias():
            return deliver
        row = Owed(region=region, scopes=" ".join(sorted(scopes)))
        row.save(using=alias)

        def deliver_and_forget() -> bool:
            delivered = deliver()
            if delivered:
                row.delete(using=alias)
            else:
                # For whoever reaches the store first, and at once.
                overdue = DatabaseNow() - timedelta(seconds=IN_FLIGHT)
                Owed.objects.using(alias).filter(pk=row.pk).update(created_at=overdue)
            return delivered

        return deliver_and_forget


class Delivery:
    """From the table to the regions of this process.

    Whoever can read an old value from a server can invalidate it there; so with a look before it
    reads, a process is never further behind than its last look, whatever other hosts can reach.
    A store that takes only a part of what is owed keeps the rest (`regions.store`), and row and
    all stay for those who can deliver more. This process goes over them again when the store has
    taken one of them whole: what is invalidated once too often has to be loaded again.
    """

    def __init__(self) -> None:
        self._tried: set[int] = set()

    def deliver(self, older_than: float = IN_FLIGHT) -> int:
        """Deliver what processes that are gone have left in the table, and what stores could not
        take. Rows younger than ``older_than`` seconds, by the database's clock, are left alone.

        Returns the number of rows that were delivered. Raises DatabaseError.
        """
        rows = Owed.objects.using(_alias())
        owed: dict[str, dict[int, str]] = {}
        before = DatabaseNow() - timedelta(seconds=older_than)
        found = rows.filter(created_at__lte=before).order_by("pk")
        for pk, region, scopes in found.values_list("pk", "region", "scopes"):
            owed.setdefault(region, {})[pk] = scopes
        delivered = [pk for region in owed for pk in self._deliver(region, owed[region])]
        for start in range(0, len(delivered), _AT_ONCE):
            rows.filter(pk__in=delivered[start : start + _AT_ONCE]).delete()
        left = {pk for region in owed.values() for pk in region}.difference(delivered)
        self._tried = left
        if left:
            for row in rows.filter(created_at__lt=DatabaseNow() - FORGOTTEN):
                logger.warning("%s has not been delivered in %s: given up", row, FORGOTTEN)
                row.delete()
        return len(delivered)

    def _deliver(self, region: str, owed: dict[int, str]) -> list[int]:
        """Deliver rows of a region, by primary key; return which are."""
        new = {pk: scopes for pk, scopes in owed.items() if pk not in self._tried}
        old = {pk: scopes for pk, scopes in owed.items() if pk in self._tried}
        delivered = list(new) if new and _invalidate(region, new.values()) else []
        if old and (delivered or not new) and _invalidate(region, [next(iter(old.values()))]):
            delivered += list(old) if _invalidate(region, old.values()) else []
        return delivered


def _invalidate(name: str, rows: Iterable[str]) -> bool:
    """Invalidate the scopes of all ``rows`` at once: a server that is away is waited for once."""
    scopes = frozenset(scope for row in rows for scope in row.split())
    delivered = [region.deliver(scopes) for region in regions_named(name)]
    return bool(delivered) and all(delivered)


def _alias() -> str:
    """Return the database that has the table; transactions on others have no outbox."""
    return router.db_for_write(Owed)


class DeliveryNowAndThen:
    """Delivers what is owed, every few seconds of a process that serves requests."""

    def __init__(self) -> None:
        self._delivery = Delivery()
        self._next = 0.0

    def __call__(self, **_: Any) -> None:
        # Two threads that come at once do it twice, which is as good as once.
        started = time.monotonic()
        if started < self._next:
            return
        self._next = started + INTERVAL
        try:
            delivered = self._delivery.deliver()
        except DatabaseError as error:
            logger.warning("the outbox cannot be read: %s", error)
            now = time.monotonic()
            self._next = max(self._next, now + PATIENCE * (now - started))
            return
        if delivered:
            logger.warning("%d invalidations were left behind, and are delivered now", delivered)
