"""Invalidations that outlive their process, and return when no host is behind."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from django.db import connections

from regions.django.outbox.delivery import IN_FLIGHT, alias, delete, invalidate
from regions.django.outbox.lookout import Lookout, wait_for_others
from regions.django.outbox.models import DatabaseNow, Owed
from regions.django.transactions import DatabaseTransactions, run_at_commit
from regions.invalidation import deliver
from regions.region import regions_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models.expressions import Combinable

    from regions.django.transactions import Waiting
    from regions.invalidation import Invalidation

logger = logging.getLogger("regions.django.outbox")


class OutboxTransactions(DatabaseTransactions):
    """Transactions whose invalidations are rows until they are delivered.

    What cannot be delivered is left to who can, and waited for when all of a transaction has been
    tried: once, however much it is.
    """

    def __init__(self, lookout: Lookout) -> None:
        super().__init__()
        self._lookout = lookout

    def informed(self) -> bool:
        return self._lookout.is_current()

    def keep(self, alias_: str, hook: Waiting, new: Sequence[Invalidation]) -> None:
        if alias_ != alias():
            return
        for each in new:
            row = _row(each)
            row.save(using=alias_)
            hook.kept.append(row)

    def deliver(self, hooks: Sequence[Waiting]) -> None:
        left = deliver(each for hook in hooks for each in hook.invalidations)
        rows: list[Owed] = [row for hook in hooks for row in hook.kept]
        if not rows:
            self.undelivered(left)
            return
        regions = {each.region.name for each in left}
        late = [row for row in rows if row.region in regions]
        delete([row.pk for row in rows if row.region not in regions])
        if late:
            owed = Owed.objects.using(alias()).filter(pk__in=[row.pk for row in late])
            owed.update(created_at=_overdue())
            _wait([row for row in late if _is_shared(row)])

    def undelivered(self, invalidations: Sequence[Invalidation]) -> None:
        rows = [row for row in map(_row, invalidations) if _is_shared(row)]
        if not rows:
            return
        try:
            for row in rows:
                row.created_at = _overdue()
                row.save(using=alias())
            connection = connections[alias()]
            if connection.in_atomic_block:
                # Nobody sees the rows before.
                run_at_commit(connection, partial(_wait, rows))
            else:
                _wait(rows)
        except Exception as error:
            # Of the database, which is not the caller's either.
            logger.warning("other hosts cannot be told of an invalidation: %s", error)


def _wait(rows: Sequence[Owed]) -> None:
    if not rows:
        return
    wait_for_others([row.pk for row in rows])
    # What others have made meanwhile of values that they had no business to read any more lies on
    # servers that can be reached.
    regions = {row.region for row in rows}
    invalidate({name: [row.scopes for row in rows if row.region == name] for name in regions})


def _is_shared(row: Owed) -> bool:
    return any(each.store.is_shared for each in regions_named(row.region))


def _row(invalidation: Invalidation) -> Owed:
    scopes = " ".join(sorted(invalidation.scopes))
    return Owed(region=invalidation.region.name, scopes=scopes)


def _overdue() -> Combinable:
    """Return since when a row is written that whoever looks next is to deliver."""
    return DatabaseNow() - timedelta(seconds=IN_FLIGHT)
