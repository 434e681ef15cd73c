"""Invalidations as values, which may wait for the commit of a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from beaker_regions.engine.store import Store
from beaker_regions.telemetry.recorder import Stats


class InvalidatedRegion(Protocol):
    """The part of a region that an invalidation needs."""

    name: str
    store: Store
    stats: Stats


class Invalidation(NamedTuple):
    """Scopes of one region that are invalidated."""

    region: InvalidatedRegion
    scopes: frozenset[str]
    what: str = ""
    """A description for the event log; empty: it is not logged."""
    function: str = ""
    """The function whose counters count it; empty: the region's own counters."""
    users: frozenset[tuple[Stats, str]] = frozenset()
    """The functions that have one of the invalidated tags, with the counters of their regions."""


class InvalidationLog(Protocol):
    """Keeps collected invalidations safe: they take effect after the commit of the changes that
    they are about, and the process may be killed in between."""

    def keep(self, invalidations: Sequence[Invalidation]) -> None:
        """Write ``invalidations`` in the open transaction, if there is one."""

    def settle(self, pending: Sequence[Invalidation]) -> None:
        """Delete the written invalidations, which were applied, except for ``pending``."""
