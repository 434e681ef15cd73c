"""Invalidations wait for the commit of the database transaction they are made in.

What waits is kept nowhere but in Django's own list of commit hooks, so savepoints that are rolled
back, nested blocks and failed commits take it away exactly as they take away the hooks. All of a
transaction is delivered at once: nothing is stored that is made of one part of it as it was, and
of another as it is.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db import transaction

from beaker_regions.django import coroutines
from beaker_regions.django.commits import watch_end
from beaker_regions.engine.invalidation import deliver, invalidate
from beaker_regions.runtime.threads import in_this_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from concurrent.futures import Future

    from django.db.backends.base.base import BaseDatabaseWrapper

    from beaker_regions.engine.transactions import Invalidation, Kept, Target


logger = logging.getLogger("beaker_regions.django")


class Waiting:
    """A commit hook: what is invalidated with the commit, unless a savepoint is rolled back."""

    def __init__(self, committed: Committed, collected: list[Any] | None = None) -> None:
        self._committed = committed
        self.collected = collected
        """Where to tell what of it was written down, if something else delivers it later."""
        self.invalidations: list[Invalidation] = []
        self.scopes: dict[Target, set[str]] = {}
        self.kept: list[Any] = []
        """Where it is written down, if it is."""
        self.has_run = False

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
        self.has_run = True


class Committed(threading.local):
    """What this thread has committed and not delivered yet."""

    def __init__(self) -> None:
        self.hooks: list[Waiting] = []
        self.of_tests: list[tuple[BaseDatabaseWrapper, Waiting]] = []
        """What waits within a test case's transaction, which is never committed."""


PATIENCE = 1.0
"""Seconds for which a coroutine waits until its invalidation waits for the commit. The thread that
has the transaction may be waiting for the coroutine."""


class Served(threading.local):
    """The transactions of the coroutine that this thread does something for."""

    where: coroutines.Elsewhere | None = None


class DatabaseTransactions:
    """The transactions of the calling thread, on all of its databases."""

    def __init__(self) -> None:
        self._committed = Committed()
        self._served = Served()

    def carry_out(self, step: Callable[[], Any]) -> Awaitable[Any] | Callable[[], Any]:
        if not coroutines.open_anywhere():
            return step
        if coroutines.is_waited_for():
            # That thread does nothing else meanwhile, so this waits for nothing else.
            return sync_to_async(step)()
        with coroutines.outside_of_the_loop():
            if coroutines.open_here():
                step()
                return asyncio.sleep(0)
        where = coroutines.elsewhere()
        return step if where is None else partial(self._serve, where, step)

    def _serve(self, where: coroutines.Elsewhere, step: Callable[[], Any]) -> Any:
        self._served.where = where
        try:
            return step()
        finally:
            self._served.where = None

    def active(self) -> bool:
        return any(True for _ in self._opened())

    def pending(self) -> frozenset[str]:
        waiting: set[str] = set()
        for connection in self._opened():
            for _, hook in _hooks(connection):
                waiting.update(*hook.scopes.values())
        return frozenset(waiting)

    def _opened(self) -> Iterator[BaseDatabaseWrapper]:
        """Yield the connections with an open transaction that what is done here is part of."""
        if self._committed.of_tests:
            self._settle()
        yield from coroutines.open_here()
        where = self._served.where
        if coroutines.has_loop():
            with coroutines.outside_of_the_loop():
                opened = coroutines.open_here()
            yield from opened
            where = coroutines.elsewhere()
        if where is not None:
            yield from where.opened

    def _settle(self) -> None:
        """Deliver what an application's block within a test case's has left: its end is the commit
        that the test never sees. The hooks stay in their places, where Django counts them."""
        waiting, self._committed.of_tests = self._committed.of_tests, []
        owed: list[Invalidation] = []
        for connection, hook in waiting:
            if coroutines.is_open(connection):
                self._committed.of_tests.append((connection, hook))
            elif any(each is hook for _, each in _hooks(connection)):  # and not rolled back
                owed += hook.invalidations
                hook.invalidations, hook.scopes = [], {}
        if owed:
            deliver(owed)

    def defer(self, invalidations: Sequence[Invalidation]) -> bool:
        deferred = self._defer(invalidations)
        where = self._served.where
        if has_loop := coroutines.has_loop():
            with coroutines.outside_of_the_loop():
                deferred = self._defer(invalidations) or deferred
            where = coroutines.elsewhere()
        if where is not None and where.opened:
            deferred = self._defer_there(where, invalidations, not has_loop) or deferred
        return deferred

    def _defer_there(
        self, where: coroutines.Elsewhere, invalidations: Sequence[Invalidation], waits: bool
    ) -> bool:
        """Let another thread defer, before what else this coroutine asks of it, such as to commit:
        or at once, if it has committed by then."""
        defer = in_this_context(partial(invalidate, invalidations))
        try:
            future = where.executor.submit(defer)
        except RuntimeError:
            return False  # it has ended, and its transaction with it
        try:
            if waits:
                future.result(PATIENCE)
                return True
        except TimeoutError:
            if future.done():
                raise
        future.add_done_callback(_report)
        return True

    def _defer(self, invalidations: Sequence[Invalidation]) -> bool:
        deferred = False
        for connection in coroutines.open_here():
            # With several databases in a transaction nobody can say which holds the data: each
            # commit delivers, and a delivery too many costs a load.
            hook = self._hook(connection)
            new = [each for each in invalidations if hook.add(each)]
            if is_of_a_test(connection):
                self._committed.of_tests.append((connection, hook))
            self.keep(connection.alias, hook, new)
            deferred = True
        return deferred

    def _hook(self, connection: BaseDatabaseWrapper, collected: list[Any] | None = None) -> Waiting:
        """Return the hook for what is done now."""
        savepoints = set(connection.savepoint_ids)
        for within, hook in _hooks(connection):
            if is_of_a_test(connection):
                break  # which may run only the hooks that are made from now on
            if within == savepoints and hook.collected is collected:
                return hook
        watch_end(connection, self._lost)
        hook = Waiting(self._committed, collected)
        run_at_commit(connection, hook)
        # Each has one behind it, as it may be the only one that is not rolled back.
        run_at_commit(connection, self._deliver)
        return hook

    def _deliver(self) -> None:
        hooks = list(self._committed.hooks)
        if hooks:
            self.deliver(hooks)
            # After an exception, such as a time limit's, the next commit delivers them.
            del self._committed.hooks[: len(hooks)]

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

    def is_caught_up(self) -> bool:
        return True

    def undelivered(self, invalidations: Sequence[Invalidation]) -> None:
        pass


def run_at_commit(connection: BaseDatabaseWrapper, function: Callable[[], None]) -> None:
    """Call ``function`` at the commit of the open transaction, behind all `Waiting`, and before
    what others want to be called: one of theirs that raises would end the run."""
    transaction.on_commit(function, using=connection.alias, robust=True)
    if not is_of_a_test(connection):
        hook = connection.run_on_commit.pop()
        connection.run_on_commit.insert(len(list(_hooks(connection))), hook)


def is_of_a_test(connection: BaseDatabaseWrapper) -> bool:
    """Whether the open transaction is that of a test case, which is never committed. Hooks of it
    are run by who counts them: what comes after the first so many (`captureOnCommitCallbacks`)."""
    blocks = connection.atomic_blocks
    return bool(blocks) and getattr(blocks[0], "_from_testcase", False)


def _hooks(connection: BaseDatabaseWrapper) -> Iterator[tuple[set[str], Waiting]]:
    """Yield what waits, and within which savepoints."""
    for savepoints, hook, *_ in tuple(connection.run_on_commit):
        if isinstance(hook, Waiting) and not hook.has_run:
            yield savepoints, hook


def _report(future: Future[Any]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        logger.error("an invalidation failed, of a coroutine that did not wait", exc_info=error)
