"""Applies the rows of the outbox to the regions of this process."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connections, router
from django.db.models import QuerySet

from beaker_regions.django.outbox.models import DatabaseNow, PendingInvalidation
from beaker_regions.engine.invalidation import apply
from beaker_regions.engine.region import all_regions, regions_named
from beaker_regions.engine.store import EVERYBODY
from beaker_regions.engine.transactions import InvalidatedRegion, Invalidation
from beaker_regions.errors import ConfigurationError, StoreUnavailableError

Scopes = Mapping[tuple[str, str], Iterable[str]]
"""Scopes by region and owner; each text is from one row."""

logger = logging.getLogger("beaker_regions.django.outbox")

IN_FLIGHT = 5.0
"""Seconds for which a row is left to the process that wrote it."""
RECENT = 60.0
"""Seconds; longer than the time between two polls of all rows, plus a commit in between."""
DISCARD_AFTER = timedelta(days=7)
"""A row older than this is discarded: no running process has its region, or can reach it."""
_BATCH = 500
"""Rows that are deleted in one statement; databases limit its size."""

_MISSING = re.compile("no such|no column|not exist|n't exist")

Result = TypeVar("Result")


def alias() -> str:
    """Return the database that has the table; transactions on others have no outbox."""
    return router.db_for_write(PendingInvalidation)


def on_a_live_connection(ask: Callable[[], Result]) -> Result:
    """Query the database. If this thread's connection has died since its last use, query again on
    a new one: in a thread without requests, Django does not check that. Raises DatabaseError."""
    connection = connections[alias()]
    was_open = connection.connection is not None
    try:
        return ask()
    except (OperationalError, InterfaceError):
        if not was_open or connection.in_atomic_block or connection.is_usable():
            raise
        connection.close()
        return ask()


def explained(error: Exception) -> Exception:
    """Return the error, or a clearer one if the table or one of its columns is missing."""
    text = str(error)
    table = PendingInvalidation._meta.db_table
    if "Unknown column" in text or (table in text and _MISSING.search(text)):
        return ConfigurationError(
            f"the outbox's table in database {alias()!r} is not the one of this release: "
            f"run manage.py migrate ({error})"
        )
    return error


def owner_of(region: InvalidatedRegion) -> str | None:
    """Return the owner of a region's store (`Store.owner`). None if no other process can apply
    its invalidations, or its folder cannot be read."""
    try:
        return region.store.generation_store.owner()
    except (OSError, StoreUnavailableError):
        return None


def unclaimed(
    older_than: float = IN_FLIGHT, *, everybodys: bool = False
) -> QuerySet[PendingInvalidation]:
    """Return the rows that their writer no longer applies, because it died or could not reach a
    server. They are older than so many seconds by the database's clock, and belong to stores of
    this process, or with ``everybodys`` to stores that all hosts share."""
    owners = {EVERYBODY} if everybodys else {owner_of(region) for region in all_regions()}
    return PendingInvalidation.objects.using(alias()).filter(
        created_at__lte=DatabaseNow() - timedelta(seconds=older_than),
        owner__in={"", *owners} - {None},
    )


def discard_old_rows() -> None:
    """Delete rows that no process has applied for `DISCARD_AFTER`. Raises DatabaseError."""
    rows = PendingInvalidation.objects.using(alias())
    for row in rows.filter(created_at__lt=DatabaseNow() - DISCARD_AFTER):
        logger.warning("no process has applied %s within %s: discarded", row, DISCARD_AFTER)
        row.delete()


class Applier:
    """Applies rows of the table to the regions of this process.

    A process that can read an old value from a server can also invalidate the value there. So a
    process that polls the table before it reads knows every invalidation up to its last poll,
    whichever servers other hosts can reach.

    If a store can apply only a part of an invalidation, it keeps the rest
    (`beaker_regions.engine.store`), and the row stays for processes that can apply more. This
    process retries its rows only after the store has applied one of them completely: a repeated
    invalidation makes the same values load again.
    """

    def __init__(self) -> None:
        self._tried: set[int] = set()

    def apply(self, older_than: float = IN_FLIGHT) -> int:
        """Apply the `unclaimed` rows. Returns how many were applied. Raises DatabaseError."""
        pending = _by_region(unclaimed(older_than))
        applied = [pk for region in pending for pk in self._apply(region, pending[region])]
        delete(applied)
        self._tried = {pk for rows in pending.values() for pk in rows}.difference(applied)
        if self._tried:
            discard_old_rows()
        return len(applied)

    def apply_recent(self) -> int:
        """As `apply`, for rows that became unclaimed within `RECENT` and were not tried yet."""
        earliest = DatabaseNow() - timedelta(seconds=IN_FLIGHT + RECENT)
        pending = _by_region(unclaimed().filter(created_at__gt=earliest), self._tried)
        regions = apply_scopes({region: rows.values() for region, rows in pending.items()})
        applied = [pk for region in regions for pk in pending[region]]
        delete(applied)
        self._tried.update(*pending.values())
        return len(applied)

    def _apply(self, region: tuple[str, str], pending: dict[int, str]) -> list[int]:
        """Apply rows of a region, given by primary key; return the keys of the applied ones."""
        new = {pk: scopes for pk, scopes in pending.items() if pk not in self._tried}
        old = {pk: scopes for pk, scopes in pending.items() if pk in self._tried}
        applied = list(new) if new and apply_scopes({region: new.values()}) else []
        if old and (applied or not new) and apply_scopes({region: [next(iter(old.values()))]}):
            applied += list(old) if apply_scopes({region: old.values()}) else []
        return applied


def _by_region(
    rows: QuerySet[PendingInvalidation], without: Iterable[int] = frozenset()
) -> dict[tuple[str, str], dict[int, str]]:
    """Return the scopes of rows by region and owner, and by primary key."""
    pending: dict[tuple[str, str], dict[int, str]] = {}
    found: Any = rows.order_by("pk").values_list("pk", "region", "owner", "scopes")
    for pk, region, owner, scopes in found:
        if pk not in without:
            pending.setdefault((region, owner), {})[pk] = scopes
    return pending


def delete(rows: list[int]) -> None:
    """Delete rows, by primary key."""
    for start in range(0, len(rows), _BATCH):
        keys = rows[start : start + _BATCH]
        PendingInvalidation.objects.using(alias()).filter(pk__in=keys).delete()


def apply_scopes(pending: Scopes) -> set[tuple[str, str]]:
    """Invalidate the scopes of all rows of some regions at once, so that an unavailable server
    costs one timeout. Returns the regions whose invalidations are completely applied."""
    invalidations = {
        (name, owner): [
            Invalidation(region, frozenset(scope for row in rows for scope in row.split()))
            for region in regions_named(name)
            if owner in ("", owner_of(region))
        ]
        for (name, owner), rows in pending.items()
    }
    pending_in = {
        each.region for each in apply(each for many in invalidations.values() for each in many)
    }
    return {
        key
        for key, many in invalidations.items()
        if many and pending_in.isdisjoint(each.region for each in many)
    }
