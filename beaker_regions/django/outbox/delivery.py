"""From the rows of the outbox to the regions."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import InterfaceError, OperationalError, connections, router

from beaker_regions.django.outbox.models import DatabaseNow, Owed
from beaker_regions.engine.invalidation import deliver
from beaker_regions.engine.region import all_regions, regions_named
from beaker_regions.engine.store import EVERYBODY
from beaker_regions.engine.transactions import Invalidation
from beaker_regions.errors import ConfigurationError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from django.db.models import QuerySet

    from beaker_regions.engine.transactions import Target

    Scopes = Mapping[tuple[str, str], Iterable[str]]
    """By region and owner; each is a row's."""

logger = logging.getLogger("beaker_regions.django.outbox")

IN_FLIGHT = 5.0
"""Seconds for which a row is left to the process that wrote it."""
LATELY = 60.0
"""Seconds; longer than from one look at all rows to the next, and a commit in between."""
FORGOTTEN = timedelta(days=7)
"""After which a row is given up: no process that is left has its region, or can reach it."""
_AT_ONCE = 500
"""Rows that are deleted in one statement; databases limit its size."""

_MISSING = re.compile("no such|no column|not exist|n't exist")

Result = TypeVar("Result")


def alias() -> str:
    """Return the database that has the table; transactions on others have no outbox."""
    return router.db_for_write(Owed)


def on_a_live_connection(ask: Callable[[], Result]) -> Result:
    """Ask the database; once more, on a new connection, if this thread's had died since it was
    last used: in a thread without requests nobody else finds that out. Raises DatabaseError."""
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
    """Return the error, or what says more, if the database wants the table or one of its
    columns."""
    said = str(error)
    if "Unknown column" in said or (Owed._meta.db_table in said and _MISSING.search(said)):
        return ConfigurationError(
            f"the table of the outbox in database {alias()!r} is not as this release needs it: "
            f"run manage.py migrate ({error})"
        )
    return error


def owner_of(region: Target) -> str | None:
    """Return whose rows are for a region (`Store.owner`); None if no other process can carry them
    out, or its folder cannot be read."""
    try:
        return region.store.generation_store.owner()
    except (OSError, StoreUnavailableError):
        return None


def unclaimed(older_than: float = IN_FLIGHT, *, everybodys: bool = False) -> QuerySet[Owed]:
    """Return the rows for stores of this process, or for ``everybodys``, that are not their
    writer's any more, as it died, or could not deliver them and said so: those older than so many
    seconds, by the database's clock."""
    owners = {EVERYBODY} if everybodys else {owner_of(region) for region in all_regions()}
    return Owed.objects.using(alias()).filter(
        created_at__lte=DatabaseNow() - timedelta(seconds=older_than),
        owner__in={"", *owners} - {None},
    )


def give_up() -> None:
    """Forget rows that nobody has been able to deliver, whoever's they are. Raises
    DatabaseError."""
    rows = Owed.objects.using(alias()).filter(created_at__lt=DatabaseNow() - FORGOTTEN)
    for row in rows:
        logger.warning("%s has not been delivered in %s: given up", row, FORGOTTEN)
        row.delete()


class Delivery:
    """From the table to the regions of this process.

    Whoever can read an old value from a server can invalidate it there; so with a look before it
    reads, a process is never further behind than its last look, whatever other hosts can reach.
    A store that takes only a part of what is owed keeps the rest (`beaker_regions.engine.store`),
    and row and all stay for those who can deliver more. This process goes over them again when the
    store has taken one of them whole: what is invalidated once too often has to be loaded again.
    """

    def __init__(self) -> None:
        self._tried: set[int] = set()

    def deliver(self, older_than: float = IN_FLIGHT) -> int:
        """Deliver what is `unclaimed`. Returns the number of rows that were delivered. Raises
        DatabaseError."""
        owed = _by_region(unclaimed(older_than))
        delivered = [pk for region in owed for pk in self._deliver(region, owed[region])]
        delete(delivered)
        self._tried = {pk for region in owed.values() for pk in region}.difference(delivered)
        if self._tried:
            give_up()
        return len(delivered)

    def deliver_latest(self) -> int:
        """As `deliver`, of what has not been tried before and was left `LATELY`."""
        latest = DatabaseNow() - timedelta(seconds=IN_FLIGHT + LATELY)
        owed = _by_region(unclaimed().filter(created_at__gt=latest), self._tried)
        taken = invalidate({region: rows.values() for region, rows in owed.items()})
        delivered = [pk for region in taken for pk in owed[region]]
        delete(delivered)
        self._tried.update(*owed.values())
        return len(delivered)

    def _deliver(self, region: tuple[str, str], owed: dict[int, str]) -> list[int]:
        """Deliver rows of a region, by primary key; return which are."""
        new = {pk: scopes for pk, scopes in owed.items() if pk not in self._tried}
        old = {pk: scopes for pk, scopes in owed.items() if pk in self._tried}
        delivered = list(new) if new and invalidate({region: new.values()}) else []
        if old and (delivered or not new) and invalidate({region: [next(iter(old.values()))]}):
            delivered += list(old) if invalidate({region: old.values()}) else []
        return delivered


def _by_region(
    rows: QuerySet[Owed], without: Iterable[int] = frozenset()
) -> dict[tuple[str, str], dict[int, str]]:
    """Return the scopes of rows by region and owner, and by primary key."""
    owed: dict[tuple[str, str], dict[int, str]] = {}
    found: Any = rows.order_by("pk").values_list("pk", "region", "owner", "scopes")
    for pk, region, owner, scopes in found:
        if pk not in without:
            owed.setdefault((region, owner), {})[pk] = scopes
    return owed


def delete(rows: list[int]) -> None:
    """Delete rows, by primary key."""
    for start in range(0, len(rows), _AT_ONCE):
        Owed.objects.using(alias()).filter(pk__in=rows[start : start + _AT_ONCE]).delete()


def invalidate(owed: Scopes) -> set[tuple[str, str]]:
    """Invalidate the scopes of all rows of some regions at once, a server that is away is waited
    for once; return the regions of which all is delivered."""
    invalidations = {
        (name, owner): [
            Invalidation(region, frozenset(scope for row in rows for scope in row.split()))
            for region in regions_named(name)
            if owner in ("", owner_of(region))
        ]
        for (name, owner), rows in owed.items()
    }
    unclaimed = {
        each.region for each in deliver(each for many in invalidations.values() for each in many)
    }
    return {
        key
        for key, many in invalidations.items()
        if many and unclaimed.isdisjoint(each.region for each in many)
    }
