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
            _run_at(connection, 0, hook)
            deferred = True
        return deferred

    def on_commit(
        self, alias: str, region: str, scopes: frozenset[str], deliver: Callable[[], bool]
    ) -> Callable[[], bool]:
        """Return what to do when the transaction on the database ``alias`` commits."""

        def deliver_or_tell() -> bool:
            delivered = deliver()
            if not delivered:
                self.undelivered(region, scopes)
            return delivered

        return deliver_or_tell

    def informed(self) -> bool:
        return True

    def undelivered(self, region: str, scopes: frozenset[str]) -> None:
        pass


def run_behind_invalidations(connection: BaseDatabaseWrapper, hook: Callable[[], None]) -> None:
    """Call ``hook`` at the commit of the open transaction, after all that it invalidates."""
    hooks = (hook for _, hook, *_ in connection.run_on_commit)
    _run_at(connection, sum(isinstance(each, _Invalidation) for each in hooks), hook)


def _run_at(connection: BaseDatabaseWrapper, place: int, hook: Callable[[], None]) -> None:
    """Let a commit hook be the first, or so many behind it: one of somebody else that raises would
    end the run of hooks."""
    transaction.on_commit(hook, using=connection.alias, robust=True)
    connection.run_on_commit.insert(place, connection.run_on_commit.pop())


def is_open(connection: BaseDatabaseWrapper) -> bool:
    """Whether somebody will commit or roll back a transaction on it."""
    return connection.in_atomic_block or bool(connection.connection and not connection.autocommit)


def _open_connections() -> Iterator[BaseDatabaseWrapper]:
    """Yield the connections with an open transaction; for one that is managed by hand, Django
    refuses the commit hook.
    """
    return filter(is_open, connections.all(initialized_only=True))
