"""Invalidations wait for the commit of the database transaction they are made in.

What waits is kept nowhere but in Django's own list of commit hooks, so savepoints that are rolled
back, nested blocks and failed commits take it away exactly as they take away the hooks. All of a
transaction is delivered at once: nothing is stored that is made of one part of it as it was, and
of another as it is.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from asgiref.sync import AsyncToSync, sync_to_async
from django.db import connections, transaction

from regions.django.commits import watch_end
from regions.invalidation import deliver

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

    from regions.invalidation import Invalidation
    from regions.region import Region
    from regions.transactions import Kept


class Waiting:
    """A commit hook: what is invalidated with the commit, unless a savepoint is rolled back."""

    def __init__(self, committed: Committed, collected: list[Any] | None = None) -> None:
        self._committed = committed
        self.collected = collected
        """Where to tell what of it was written down, if something else delivers it later."""
        self.invalidations: list[Invalidation] = []
        self.scopes: dict[Region, set[str]] = {}
        self.kept: list[Any] = []
        """Where it is written down, if it is."""

    def add(self, invalidation: Invalidation) -> bool:
        """Return whether it is one more than there was."""
        scopes = self.scopes.setdefault(invalidation.region, set())
        if invalidation.scopes <= scopes:
            return False
        scopes |= invalidation.scopes
        self.invalidations.append(invalidation)
        return True

    def __call__(self) -> None:
        if self.collected is None:
            self._committed.hooks.append(self)
        else:
            self.collected += self.kept


class Committed(threading.local):
    """What this thread has committed and not delivered yet."""

    def __init__(self) -> None:
        self.hooks: list[Waiting] = []


class DatabaseTransactions:
    """The transactions of the calling thread, on all of its databases."""

    def __init__(self) -> None:
        self._committed = Committed()

    def carry_out(self, step: Callable[[], Any]) -> Awaitable[Any] | None:
        # Only below async_to_sync does a thread wait that may have a transaction open; it does
        # meanwhile what it is given, so this waits for nothing else.
        if getattr(AsyncToSync.executors, "current", None) is None:
            return None
        return sync_to_async(step)()

    def active(self) -> bool:
        return any(True for _ in _open_connections())

    def pending(self) -> frozenset[str]:
        waiting: set[str] = set()
        for connection in _open_connections():
            for _, hook in _hooks(connection):
                waiting.update(*hook.scopes.values())
        return frozenset(waiting)

    def defer(self, invalidations: Sequence[Invalidation]) -> bool:
        deferred = False
        for connection in _open_connections():
            # With several databases in a transaction nobody can say which holds the data: each
            # commit delivers, and a delivery too many costs a load.
            hook = self._hook(connection)
            new = [each for each in invalidations if hook.add(each)]
            self.keep(connection.alias, hook, new)
            deferred = True
        return deferred

    def _hook(self, connection: BaseDatabaseWrapper, collected: list[Any] | None = None) -> Waiting:
        """Return the hook for what is done now."""
        savepoints = set(connection.savepoint_ids)
        for within, hook in _hooks(connection):
            if within == savepoints and hook.collected is collected:
                return hook
        watch_end(connection, self._lost)
        hook = Waiting(self._committed, collected)
        run_at_commit(connection, hook)
        # Each has one behind it, as it may be the only one that is not rolled back.
        run_at_commit(connection, self._deliver)
        return hook

    def _deliver(self) -> None:
        hooks, self._committed.hooks = self._committed.hooks, []
        if hooks:
            self.deliver(hooks)

    def _lost(self, hooks: Sequence[Any]) -> None:
        """Invalidate what may have been committed. What was written down stays, and is delivered
        once more: the commit may take place later than this."""
        hooks = [hook for hook in hooks if isinstance(hook, Waiting) and hook.collected is None]
        deliver(each for hook in hooks for each in hook.invalidations)

    def collection(self) -> Kept | None:
        return None

    def keep(self, alias: str, hook: Waiting, new: Sequence[Invalidation]) -> None:
        """Write down what is ``new`` in a hook, in the open transaction on the database ``alias``,
        for the case that this process ends before it has delivered it."""

    def deliver(self, hooks: Sequence[Waiting]) -> None:
        """Invalidate what was committed."""
        if left := deliver(each for hook in hooks for each in hook.invalidations):
            self.undelivered(left)

    def informed(self) -> bool:
        return True

    def undelivered(self, invalidations: Sequence[Invalidation]) -> None:
        pass


def run_at_commit(connection: BaseDatabaseWrapper, function: Callable[[], None]) -> None:
    """Call ``function`` at the commit of the open transaction, behind all `Waiting`, and before
    what others want to be called: one of theirs that raises would end the run."""
    transaction.on_commit(function, using=connection.alias, robust=True)
    hook = connection.run_on_commit.pop()
    connection.run_on_commit.insert(len(list(_hooks(connection))), hook)


def _hooks(connection: BaseDatabaseWrapper) -> Iterator[tuple[set[str], Waiting]]:
    """Yield what waits, which is first in the list, and within which savepoints."""
    for savepoints, hook, *_ in connection.run_on_commit:
        if not isinstance(hook, Waiting):
            return
        yield savepoints, hook


def is_open(connection: BaseDatabaseWrapper) -> bool:
    """Whether somebody will commit or roll back a transaction on it."""
    return connection.in_atomic_block or bool(connection.connection and not connection.autocommit)


def _open_connections() -> Iterator[BaseDatabaseWrapper]:
    """Yield the connections with an open transaction; for one that is managed by hand, Django
    refuses the commit hook.
    """
    return filter(is_open, connections.all(initialized_only=True))
