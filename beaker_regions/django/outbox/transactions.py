"""Invalidations that outlive their process, and return when no host is behind."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from django.db import DatabaseError, connections, transaction

from beaker_regions.django.outbox.collected import CollectedRows
from beaker_regions.django.outbox.delivery import (
    IN_FLIGHT,
    alias,
    delete,
    explained,
    invalidate,
    on_a_live_connection,
    owner_of,
)
from beaker_regions.django.outbox.models import DatabaseNow, Owed
from beaker_regions.django.outbox.poller import OutboxPoller
from beaker_regions.django.transactions import DatabaseTransactions, run_at_commit
from beaker_regions.engine.invalidation import deliver
from beaker_regions.engine.store import EVERYBODY
from beaker_regions.runtime.interruptions import is_interruption

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.expressions import Combinable

    from beaker_regions.django.transactions import Waiting
    from beaker_regions.engine.transactions import Invalidation, Kept

logger = logging.getLogger("beaker_regions.django.outbox")


class OutboxTransactions(DatabaseTransactions):
    """Transactions whose invalidations are rows until they are delivered.

    What cannot be delivered is left to who can, and waited for when all of a transaction has been
    tried: once, however much it is.
    """

    def __init__(self, poller: OutboxPoller) -> None:
        super().__init__()
        self._lookout = poller

    def is_caught_up(self) -> bool:
        return self._lookout.is_current()

    def collection(self) -> Kept | None:
        return CollectedRows(self._collect)

    def _collect(
        self,
        connection: BaseDatabaseWrapper,
        rows: list[Owed],
        invalidations: Sequence[Invalidation],
    ) -> None:
        hook = self._hook(connection, rows)
        self.keep(connection.alias, hook, [each for each in invalidations if hook.add(each)])

    def keep(self, alias_: str, hook: Waiting, new: Sequence[Invalidation]) -> None:
        if alias_ != alias():
            return
        for row in _rows(new):
            try:
                row.save(using=alias_)
            except DatabaseError as error:
                told = explained(error)
                if told is error:
                    raise
                raise told from error
            hook.kept.append(row)

    def deliver(self, hooks: Sequence[Waiting]) -> None:
        left = deliver(each for hook in hooks for each in hook.invalidations)
        rows: list[Owed] = [row for hook in hooks for row in hook.kept]
        if not rows:
            self.undelivered(left)
            return
        regions = {each.region.name for each in left}
        late = [row for row in rows if row.region in regions]
        done = [row.pk for row in rows if row.region not in regions]
        on_a_live_connection(partial(delete, done))
        if late:
            owed = Owed.objects.using(alias()).filter(pk__in=[row.pk for row in late])
            on_a_live_connection(partial(owed.update, created_at=_overdue()))
            self._wait([row for row in late if row.owner == EVERYBODY])

    def undelivered(self, invalidations: Sequence[Invalidation]) -> None:
        rows = [row for row in _rows(invalidations) if row.owner == EVERYBODY]
        if not rows:
            return
        try:
            on_a_live_connection(partial(_leave, rows))
            connection = connections[alias()]
            if connection.in_atomic_block:
                # Nobody sees the rows before.
                run_at_commit(connection, partial(self._wait, rows))
            else:
                self._wait(rows)
        except Exception as error:
            if is_interruption(error):
                raise
            # Of the database, which is not the caller's either.
            logger.warning("other hosts cannot be told of an invalidation: %s", explained(error))

    def _wait(self, rows: Sequence[Owed]) -> None:
        if not rows:
            return
        self._lookout.wait_for_others([row.pk for row in rows])
        # What others have made meanwhile of values that they had no business to read any more lies
        # on servers that can be reached.
        regions = {row.region for row in rows}
        invalidate(
            {
                (name, EVERYBODY): [row.scopes for row in rows if row.region == name]
                for name in regions
            }
        )


def _leave(rows: Sequence[Owed]) -> None:
    """Save rows that whoever looks next is to deliver: all, or none."""
    with transaction.atomic(using=alias()):
        for row in rows:
            row.created_at = _overdue()
            row.save(using=alias())


def _rows(invalidations: Iterable[Invalidation]) -> list[Owed]:
    """Return the rows for some invalidations; none for what no other process can carry out."""
    rows = []
    for each in invalidations:
        owner = owner_of(each.region)
        if owner is not None:
            scopes = " ".join(sorted(each.scopes))
            rows.append(Owed(region=each.region.name, scopes=scopes, owner=owner))
    return rows


def _overdue() -> Combinable:
    """Return since when a row is written that whoever looks next is to deliver."""
    return DatabaseNow() - timedelta(seconds=IN_FLIGHT)
