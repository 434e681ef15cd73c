"""Rows for invalidations that a bulk change collects and applies at its end.

A transaction inside the bulk change commits before that end. So the rows are written in the
transaction, and deleted when the bulk change has applied its invalidations. If the process is
killed in between, the rows stay for others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from beaker_regions.django.coroutines import is_open
from beaker_regions.django.outbox.applying import alias, delete, on_a_live_connection
from beaker_regions.django.outbox.models import PendingInvalidation
from beaker_regions.engine.transactions import Invalidation
from beaker_regions.runtime.interruptions import is_interruption

Write = Callable[[BaseDatabaseWrapper, list[PendingInvalidation], Sequence[Invalidation]], None]
"""Writes rows for invalidations, and adds them to the list when they are committed."""

logger = logging.getLogger("beaker_regions.django.outbox")


class CollectedRows:
    """The rows of one bulk change."""

    def __init__(self, write: Write) -> None:
        connection = connections[alias()]
        # A transaction around the bulk change ends after it: its rows are written at that end.
        self._around = connection if is_open(connection) else None
        self._write = write
        self._rows: list[PendingInvalidation] = []

    def keep(self, invalidations: Sequence[Invalidation]) -> None:
        connection = connections[alias()]
        if connection is not self._around and connection.in_atomic_block:
            self._write(connection, self._rows, invalidations)

    def settle(self, pending: Sequence[Invalidation]) -> None:
        regions = {each.region.name for each in pending}
        applied = [row.pk for row in self._rows if row.region not in regions]
        if not applied:
            return
        try:
            on_a_live_connection(partial(delete, applied))
        except Exception as error:
            if is_interruption(error):
                raise
            # The rows stay, and are applied once more.
            logger.warning("the outbox cannot be written: %s", error)
