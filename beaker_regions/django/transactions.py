"""Invalidations wait for the commit of the database transaction they are made in.

Pending invalidations are kept only in Django's own list of commit hooks. So a rolled back
savepoint, a nested block or a failed commit discards them exactly as it discards other hooks. All
invalidations of a transaction are applied at once: if they were applied one by one, a value could
be made from one row before the change and another row after it, and be stored as current.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from beaker_regions.django import coroutines
from beaker_regions.django.commits import watch_commit
from beaker_regions.engine.invalidation import Transactions, apply, invalidate
from beaker_regions.engine.transactions import InvalidatedRegion, Invalidation
from beaker_regions.runtime.threads import in_this_context

logger = logging.getLogger("beaker_regions.django")


class PendingHook:
    """A commit hook: the pending invalidations of one transaction or savepoint."""

    def __init__(self, committed: CommittedHooks, collected: list[Any] | None = None) -> None:
        self._committed = committed
        self.collected = collected
        """The list that gets the rows at the commit, if a bulk change applies them later."""
        self.invalidations: list[Invalidation] = []
        self.scopes: dict[InvalidatedRegion, set[str]] = {}
        self.rows: list[Any] = []
        """The outbox's rows for it, if there is an outbox."""
        self.has_run = False

    def add(self, invalidation: Invalidation) -> bool:
        """Add an invalidation; False if those before it cover it."""
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
            self.collected += self.rows
        self.has_run = True


class CommittedHooks(threading.local):
    """The hooks of commits of this thread that are not applied yet."""

    def __init__(self) -> None:
        self.hooks: list[PendingHook] = []
        self.in_tests: list[tuple[BaseDatabaseWrapper, PendingHook]] = []
        """The hooks in the transaction of a test case, which is never committed."""


HOOK_TIMEOUT = 1.0
"""Seconds that a coroutine waits for the thread with its transaction to add a commit hook there.
Longer is no use: that thread may be waiting for the coroutine."""


class ServedCoroutine(threading.local):
    """The thread with the transactions of the coroutine that this thread works for."""

    thread: coroutines.SyncThread | None = None


class DatabaseTransactions(Transactions):
    """The transactions of the calling thread, on all of its databases."""

    def __init__(self) -> None:
        self._committed = CommittedHooks()
        self._served = ServedCoroutine()

    def carry_out(self, step: Callable[[], Any]) -> Awaitable[Any] | Callable[[], Any]:
        if not coroutines.open_anywhere():
            return step
        if coroutines.is_waited_for():
            # That thread only serves this coroutine, so there is nothing else to wait for.
            return sync_to_async(step)()
        with coroutines.outside_the_loop():
            if coroutines.open_here():
                step()
                return asyncio.sleep(0)
        thread = coroutines.sync_thread()
        return step if thread is None else partial(self._serve, thread, step)

    def _serve(self, thread: coroutines.SyncThread, step: Callable[[], Any]) -> Any:
        self._served.thread = thread
        try:
            return step()
        finally:
            self._served.thread = None

    def active(self) -> bool:
        return self._may_be_open() and any(True for _ in self._opened())

    def _may_be_open(self) -> bool:
        """Return quickly, for each hit and load, whether there is anything to look at."""
        return bool(coroutines.open_anywhere() or self._committed.in_tests)

    def pending(self) -> frozenset[str]:
        if not self._may_be_open():
            return frozenset()
        scopes: set[str] = set()
        for connection in self._opened():
            for _, hook in _hooks(connection):
                scopes.update(*hook.scopes.values())
        return frozenset(scopes)

    def _opened(self) -> Iterator[BaseDatabaseWrapper]:
        """Yield the connections whose open transactions the running code is part of."""
        if self._committed.in_tests:
            self._apply_ended_blocks()
        yield from coroutines.open_here()
        thread = self._served.thread
        if coroutines.has_loop():
            with coroutines.outside_the_loop():
                opened = coroutines.open_here()
            yield from opened
            thread = coroutines.sync_thread()
        if thread is not None:
            yield from thread.opened

    def _apply_ended_blocks(self) -> None:
        """Apply the hooks of an application's blocks that ended inside the transaction of a test
        case: the end of the block is the commit, for there is no other. The hooks stay in
        Django's list, where the test counts them."""
        hooks, self._committed.in_tests = self._committed.in_tests, []
        due: list[Invalidation] = []
        for connection, hook in hooks:
            if coroutines.is_open(connection):
                self._committed.in_tests.append((connection, hook))
            elif any(each is hook for _, each in _hooks(connection)):  # and not rolled back
                due += hook.invalidations
                hook.invalidations, hook.scopes = [], {}
        if due:
            apply(due)

    def defer(self, invalidations: Sequence[Invalidation]) -> bool:
        deferred = self._defer(invalidations)
        thread = self._served.thread
        if has_loop := coroutines.has_loop():
            with coroutines.outside_the_loop():
                deferred = self._defer(invalidations) or deferred
            thread = coroutines.sync_thread()
        if thread is not None and thread.opened:
            deferred = self._defer_in(thread, invalidations, not has_loop) or deferred
        return deferred

    def _defer_in(
        self, thread: coroutines.SyncThread, invalidations: Sequence[Invalidation], waits: bool
    ) -> bool:
        """Let the other thread defer before it does what this coroutine asks next, such as the
        commit. If it has committed by then, it invalidates at once."""
        defer = in_this_context(partial(invalidate, invalidations))
        try:
            future = thread.executor.submit(defer)
        except RuntimeError:
            return False  # the thread has ended, and its transaction with it
        try:
            if waits:
                future.result(HOOK_TIMEOUT)
                return True
        except TimeoutError:
            if future.done():
                raise
        future.add_done_callback(_report)
        return True

    def _defer(self, invalidations: Sequence[Invalidation]) -> bool:
        deferred = False
        for connection in coroutines.open_here():
            # With several databases in a transaction, the one with the data is not known: each
            # commit invalidates, and one invalidation too many costs a load.
            hook = self._hook(connection)
            new = [each for each in invalidations if hook.add(each)]
            if is_of_a_test(connection):
                self._committed.in_tests.append((connection, hook))
            self.keep(connection.alias, hook, new)
            deferred = True
        return deferred

    def _hook(
        self, connection: BaseDatabaseWrapper, collected: list[Any] | None = None
    ) -> PendingHook:
        """Return the hook for the current savepoint."""
        savepoints = set(connection.savepoint_ids)
        for within, hook in _hooks(connection):
            if is_of_a_test(connection):
                break  # the test may run only hooks that are added from now on
            if within == savepoints and hook.collected is collected:
                return hook
        watch_commit(connection, self._commit_unknown)
        hook = PendingHook(self._committed, collected)
        run_at_commit(connection, hook)
        # One for each hook: the others may be rolled back.
        run_at_commit(connection, self._apply_committed)
        return hook

    def _apply_committed(self) -> None:
        hooks = list(self._committed.hooks)
        if hooks:
            self.apply_hooks(hooks)
            # After an exception, such as a time limit's, the next commit applies them.
            del self._committed.hooks[: len(hooks)]

    def _commit_unknown(self, hooks: Sequence[Any]) -> None:
        """Invalidate what may have been committed. The outbox's rows stay, and are applied again:
        the commit may take place later than this."""
        hooks = [hook for hook in hooks if isinstance(hook, PendingHook) and hook.collected is None]
        apply(each for hook in hooks for each in hook.invalidations)

    def keep(self, alias: str, hook: PendingHook, new: Sequence[Invalidation]) -> None:
        """Write rows for the ``new`` invalidations of a hook, in the open transaction on the
        database ``alias``, in case that this process ends before it has applied them."""

    def apply_hooks(self, hooks: Sequence[PendingHook]) -> None:
        """Apply the hooks of a commit."""
        if pending := apply(each for hook in hooks for each in hook.invalidations):
            self.share_pending(pending)

    def may_look_up_in_loop(self) -> bool:
        # The thread that waits for the coroutine knows its own transactions.
        return not (coroutines.open_anywhere() and coroutines.is_waited_for())


def run_at_commit(connection: BaseDatabaseWrapper, function: Callable[[], None]) -> None:
    """Call ``function`` at the commit of the open transaction: after each `PendingHook`, and before
    the application's hooks, since one of those that raises ends the run."""
    transaction.on_commit(function, using=connection.alias, robust=True)
    if not is_of_a_test(connection):
        hook = connection.run_on_commit.pop()
        connection.run_on_commit.insert(len(list(_hooks(connection))), hook)


def is_of_a_test(connection: BaseDatabaseWrapper) -> bool:
    """Whether the open transaction is that of a test case, which is never committed. Its hooks are
    run by `captureOnCommitCallbacks`, which counts them: those after the first so many."""
    blocks = connection.atomic_blocks
    return bool(blocks) and getattr(blocks[0], "_from_testcase", False)


def _hooks(connection: BaseDatabaseWrapper) -> Iterator[tuple[set[str], PendingHook]]:
    """Yield the pending hooks, each with its savepoints."""
    for savepoints, hook, *_ in tuple(connection.run_on_commit):
        if isinstance(hook, PendingHook) and not hook.has_run:
            yield savepoints, hook


def _report(future: Future[Any]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        logger.error("an invalidation of a coroutine failed in another thread", exc_info=error)
