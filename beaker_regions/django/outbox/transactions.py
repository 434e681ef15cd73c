"""Invalidations that survive their process, and return when every host knows of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Combinable

from beaker_regions.django.outbox.applying import (
    IN_FLIGHT,
    alias,
    apply_scopes,
    delete,
    explained,
    on_a_live_connection,
    owner_of,
)
from beaker_regions.django.outbox.collected import CollectedRows
from beaker_regions.django.outbox.models import DatabaseNow, PendingInvalidation
from beaker_regions.django.outbox.poller import OutboxPoller
from beaker_regions.django.transactions import DatabaseTransactions, PendingHook, run_at_commit
from beaker_regions.engine.invalidation import apply
from beaker_regions.engine.store import EVERYBODY
from beaker_regions.engine.transactions import Invalidation, InvalidationLog
from beaker_regions.runtime.interruptions import is_interruption

logger = logging.getLogger("beaker_regions.django.outbox")


class OutboxTransactions(DatabaseTransactions):
    """Transactions whose invalidations are rows until they are applied.

    An invalidation that this process cannot apply is left to other processes. The transaction
    waits for them once, after it has tried all of its invalidations.
    """

    def __init__(self, poller: OutboxPoller) -> None:
        super().__init__()
        self._poller = poller

    def is_caught_up(self) -> bool:
        return self._poller.is_current()

    def may_look_up_in_loop(self) -> bool:
        return self._poller.is_valid and super().may_look_up_in_loop()

    def invalidation_log(self) -> InvalidationLog | None:
        return CollectedRows(self._collect)

    def _collect(
        self,
        connection: BaseDatabaseWrapper,
        rows: list[PendingInvalidation],
        invalidations: Sequence[Invalidation],
    ) -> None:
        hook = self._hook(connection, rows)
        self.keep(connection.alias, hook, [each for each in invalidations if hook.add(each)])

    def keep(self, alias_: str, hook: PendingHook, new: Sequence[Invalidation]) -> None:
        if alias_ != alias():
            return
        for row in _rows(new):
            try:
                row.save(using=alias_)
            except DatabaseError as error:
                clearer = explained(error)
                if clearer is error:
                    raise
                raise clearer from error
            hook.rows.append(row)

    def apply_hooks(self, hooks: Sequence[PendingHook]) -> None:
        pending = apply(each for hook in hooks for each in hook.invalidations)
        rows: list[PendingInvalidation] = [row for hook in hooks for row in hook.rows]
        if not rows:
            self.share_pending(pending)
            return
        regions = {each.region.name for each in pending}
        unclaimed = [row for row in rows if row.region in regions]
        applied = [row.pk for row in rows if row.region not in regions]
        on_a_live_connection(partial(delete, applied))
        if unclaimed:
            keys = [row.pk for row in unclaimed]
            written = PendingInvalidation.objects.using(alias()).filter(pk__in=keys)
            on_a_live_connection(partial(written.update, created_at=_unclaimed_since()))
            self._wait([row for row in unclaimed if row.owner == EVERYBODY])

    def share_pending(self, invalidations: Sequence[Invalidation]) -> None:
        rows = [row for row in _rows(invalidations) if row.owner == EVERYBODY]
        if not rows:
            return
        try:
            on_a_live_connection(partial(_save_unclaimed, rows))
            connection = connections[alias()]
            if connection.in_atomic_block:
                # Other processes see the rows only after the commit.
                run_at_commit(connection, partial(self._wait, rows))
            else:
                self._wait(rows)
        except Exception as error:
            if is_interruption(error):
                raise
            # A caller never gets an error of the database.
            logger.warning("other hosts cannot know of an invalidation: %s", explained(error))

    def _wait(self, rows: Sequence[PendingInvalidation]) -> None:
        if not rows:
            return
        self._poller.wait_for_others([row.pk for row in rows])
        # Until now, other hosts may have read old values and stored new ones that are made of
        # them. Those are on servers that this process can reach: invalidate them too.
        regions = {row.region for row in rows}
        apply_scopes(
            {
                (name, EVERYBODY): [row.scopes for row in rows if row.region == name]
                for name in regions
            }
        )


def _save_unclaimed(rows: Sequence[PendingInvalidation]) -> None:
    """Save rows, all or none, that the next process to poll applies."""
    with transaction.atomic(using=alias()):
        for row in rows:
            row.created_at = _unclaimed_since()
            row.save(using=alias())


def _rows(invalidations: Iterable[Invalidation]) -> list[PendingInvalidation]:
    """Return rows for the invalidations that another process can apply."""
    rows = []
    for each in invalidations:
        owner = owner_of(each.region)
        if owner is not None:
            scopes = " ".join(sorted(each.scopes))
            rows.append(PendingInvalidation(region=each.region.name, scopes=scopes, owner=owner))
    return rows


def _unclaimed_since() -> Combinable:
    """Return the time for a row that the next process to poll applies."""
    return DatabaseNow() - timedelta(seconds=IN_FLIGHT)
