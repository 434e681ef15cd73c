"""From the rows of the outbox to the regions."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, router
from django.utils import timezone

from regions.django.outbox.models import Owed
from regions.django.transactions import DatabaseTransactions
from regions.region import regions_named

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("regions.django.outbox")

IN_FLIGHT = 5.0
"""Seconds for which a row is left to the process that wrote it."""
FORGOTTEN = timedelta(days=7)
"""After which a row is given up: no process that is left has its region, or can reach it."""
INTERVAL = 5.0
"""Seconds between two looks of a process into the table."""


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
            # What the store could not take stays for whoever reaches it first.
            if delivered:
                row.delete(using=alias)
            return delivered

        return deliver_and_forget


def deliver_owed(older_than: float = IN_FLIGHT) -> int:
    """Deliver what processes that are gone have left in the table, and what stores could not
    take. Rows younger than ``older_than`` seconds are left alone.

    Returns the number of rows that were delivered. Raises DatabaseError.
    """
    alias = _alias()
    before = timezone.now() - timedelta(seconds=older_than)
    forgotten = timezone.now() - FORGOTTEN
    delivered = 0
    for row in Owed.objects.using(alias).filter(created_at__lte=before).order_by("pk"):
        scopes = frozenset(row.scopes.split())
        regions = regions_named(row.region)
        if regions and all(region.deliver(scopes) for region in regions):
            row.delete(using=alias)
            delivered += 1
        elif row.created_at < forgotten:
            logger.warning("%s has not been delivered in %s: given up", row, FORGOTTEN)
            row.delete(using=alias)
    return delivered


def _alias() -> str:
    """Return the database that has the table; transactions on others have no outbox."""
    return router.db_for_write(Owed)


class DeliveryNowAndThen:
    """Delivers what is owed, every few seconds of a process that serves requests."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, **_: Any) -> None:
        # Two threads that come at once do it twice, which is as good as once.
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + INTERVAL
        try:
            delivered = deliver_owed()
        except DatabaseError as error:
            logger.warning("the outbox cannot be read: %s", error)
            return
        if delivered:
            logger.warning("%d invalidations were left behind, and are delivered now", delivered)
