"""Rows for what is collected in a bulk change, and delivered at its end.

A transaction within the bulk change commits earlier than that. So the rows are written in it, and
deleted when the bulk change has delivered; a process that is killed in between leaves them.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from django.db import connections

from beaker_regions.django.coroutines import is_open
from beaker_regions.django.outbox.delivery import alias, delete, on_a_live_connection
from beaker_regions.runtime.interruptions import is_interruption

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

    from beaker_regions.django.outbox.models import Owed
    from beaker_regions.engine.transactions import Invalidation

    Write = Callable[[BaseDatabaseWrapper, list[Owed], Sequence[Invalidation]], None]
    """Writes rows for invalidations, and adds them to the list when they are committed."""

logger = logging.getLogger("beaker_regions.django.outbox")


class CollectedRows:
    """The rows of one bulk change."""

    def __init__(self, write: Write) -> None:
        connection = connections[alias()]
        # A transaction around all of it ends later, and gets its rows at the end.
        self._around = connection if is_open(connection) else None
        self._write = write
        self._rows: list[Owed] = []

    def keep(self, invalidations: Sequence[Invalidation]) -> None:
        connection = connections[alias()]
        if connection is not self._around and connection.in_atomic_block:
            self._write(connection, self._rows, invalidations)

    def settle(self, left: Sequence[Invalidation]) -> None:
        regions = {each.region.name for each in left}
        done = [row.pk for row in self._rows if row.region not in regions]
        if not done:
            return
        try:
            on_a_live_connection(partial(delete, done))
        except Exception as error:
            if is_interruption(error):
                raise
            # They are delivered once more.
            logger.warning("the outbox cannot be written: %s", error)
