"""Invalidations wait for the commit of the database transaction they are made in.

What waits is kept nowhere but in Django's own list of commit hooks, so savepoints that are rolled
back, nested blocks and failed commits take it away exactly as they take away the hooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connections, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.db.backends.base.base import BaseDatabaseWrapper


class _Invalidation:
    """A commit hook that tells which scopes it will invalidate."""

    def __init__(self, scopes: frozenset[str], deliver: Callable[[], bool]) -> None:
        self.scopes = scopes
        self._deliver = deliver

    def __call__(self) -> None:
        self._deliver()


class DatabaseTransactions:
    """The transactions of the calling thread, on all of its databases."""

    def active(self) -> bool:
        return any(True for _ in _open_connections())

    def pending(self) -> frozenset[str]:
        waiting: frozenset[str] = frozenset()
        for connection in _open_connections():
            for _, hook, *_ in connection.run_on_commit:
                if isinstance(hook, _Invalidation):
                    waiting |= hook.scopes
        return waiting

    def defer(self, region: str, scopes: frozenset[str], deliver: Callable[[], bool]) -> bool:
        deferred = False
        for connection in _open_connections():
            # With several databases in a transaction nobody can say which holds the data: each
            # commit delivers, and a delivery too many costs a load.
            alias = connection.alias
            hook = _Invalidation(scopes, self.on_commit(alias, region, scopes, deliver))
            transaction.on_commit(hook, using=alias, robust=True)
            # A hook of somebody else that raises ends the run of hooks: come before them all.
            connection.run_on_commit.insert(0, connection.run_on_commit.pop())
            deferred = True
        return deferred

    def on_commit(
        self, alias: str, region: str, scopes: frozenset[str], deliver: Callable[[], bool]
    ) -> Callable[[], bool]:
        """Return what to do when the transaction on the database ``alias`` commits."""
        return deliver


def _open_connections() -> Iterator[BaseDatabaseWrapper]:
    """Yield the connections with a transaction that somebody will commit or roll back; for one
    that is managed by hand, Django refuses the commit hook.
    """
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block or (connection.connection and not connection.autocommit):
            yield connection
