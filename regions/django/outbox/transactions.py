"""Invalidations that outlive their process, and return when no host is behind."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import connections

from regions.django.outbox.delivery import IN_FLIGHT, alias, invalidate
from regions.django.outbox.lookout import Lookout, wait_for_others
from regions.django.outbox.models import DatabaseNow, Owed
from regions.django.transactions import DatabaseTransactions, run_behind_invalidations
from regions.region import regions_named

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models.expressions import Combinable

logger = logging.getLogger("regions.django.outbox")


class _Left(threading.local):
    """Rows that this thread has left to others, and not waited for yet."""

    def __init__(self) -> None:
        self.rows: list[Owed] = []


class OutboxTransactions(DatabaseTransactions):
    """Transactions whose invalidations are rows until they are delivered.

    What cannot be delivered is left to who can, and waited for when all of a transaction has been
    tried: once, however much it is.
    """

    def __init__(self, lookout: Lookout) -> None:
        self._lookout = lookout
        self._left = _Left()

    def informed(self) -> bool:
        return self._lookout.is_current()

    def on_commit(
        self, alias_: str, region: str, scopes: frozenset[str], deliver: Callable[[], bool]
    ) -> Callable[[], bool]:
        if alias_ != alias():
            return super().on_commit(alias_, region, scopes, deliver)
        row = _row(region, scopes)
        row.save(using=alias_)
        run_behind_invalidations(connections[alias_], self._wait)

        def deliver_and_forget() -> bool:
            delivered = deliver()
            if delivered:
                row.delete(using=alias_)
            else:
                Owed.objects.using(alias_).filter(pk=row.pk).update(created_at=_overdue())
                if _is_shared(region):
                    self._left.rows.append(row)
            return delivered

        return deliver_and_forget

    def undelivered(self, region: str, scopes: frozenset[str]) -> None:
        if not _is_shared(region):
            return
        row = _row(region, scopes)
        row.created_at = _overdue()
        try:
            row.save(using=alias())
            self._left.rows.append(row)
            connection = connections[alias()]
            if connection.in_atomic_block:
                # Nobody sees the row before.
                run_behind_invalidations(connection, self._wait)
            else:
                self._wait()
        except Exception as error:
            # Of the database, which is not the caller's either.
            logger.warning("other hosts cannot be told of an invalidation: %s", error)

    def _wait(self) -> None:
        rows, self._left.rows = self._left.rows, []
        if rows:
            wait_for_others([row.pk for row in rows])
            for region in {row.region for row in rows}:
                # What others have made meanwhile of values that they had no business to read any
                # more lies on servers that can be reached.
                invalidate(region, [row.scopes for row in rows if row.region == region])


def _is_shared(region: str) -> bool:
    return any(each.store.is_shared for each in regions_named(region))


def _row(region: str, scopes: frozenset[str]) -> Owed:
    return Owed(region=region, scopes=" ".join(sorted(scopes)))


def _overdue() -> Combinable:
    """Return since when a row is written that whoever looks next is to deliver."""
    return DatabaseNow() - timedelta(seconds=IN_FLIGHT)
