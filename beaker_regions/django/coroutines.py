"""The database transactions that a coroutine is part of. They are open in other threads.

Django's connections belong to threads, and asgiref chooses the thread for a coroutine's synchronous
code. A coroutine can be part of a transaction in that thread, in the thread that waits for the
coroutine (`async_to_sync`), and around the event loop itself (`asyncio.run` within ``atomic()``).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any

from asgiref.sync import AsyncToSync, SyncToAsync
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from beaker_regions.config import isolation
from beaker_regions.runtime import forking


def is_open(connection: BaseDatabaseWrapper) -> bool:
    """Whether a transaction is open on it that is not a test case's own."""
    if connection.in_atomic_block and is_test_cases(connection):
        return False
    return connection.in_atomic_block or bool(connection.connection and not connection.autocommit)


def is_test_cases(connection: BaseDatabaseWrapper) -> bool:
    """Whether no blocks are open on the connection but those in which Django's TestCase runs a
    test, and the test has regions of its own. No other process sees these regions, and the rows
    and the entries are removed at the end of the test."""
    blocks = connection.atomic_blocks
    return (
        bool(blocks)
        and all(getattr(block, "_from_testcase", False) for block in blocks)
        and isolation.folder() is not None
    )


def open_here() -> list[BaseDatabaseWrapper]:
    """Return the connections of this thread with an open transaction. If the application switched
    autocommit off, Django refuses a commit hook for it."""
    return list(filter(is_open, connections.all(initialized_only=True)))


def has_loop() -> bool:
    """Whether this thread is running an event loop."""
    return asyncio._get_running_loop() is not None


@contextlib.contextmanager
def outside_the_loop() -> Iterator[None]:
    """In this block, `connections` are those of the thread, although it runs an event loop: those
    of the synchronous code that started the loop."""
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)


def is_waited_for() -> bool:
    """Whether a thread in `async_to_sync` waits for this coroutine, and runs its synchronous
    code."""
    if getattr(AsyncToSync.executors, "current", None) is not None:
        return True
    return asyncio.get_running_loop() in AsyncToSync.loop_thread_executors


class SyncThread:
    """The thread that runs a coroutine's synchronous code, and its open transactions."""

    def __init__(self, executor: Executor, opened: list[BaseDatabaseWrapper]) -> None:
        self.executor = executor
        self._opened = opened

    @property
    def opened(self) -> list[BaseDatabaseWrapper]:
        """Connections of another thread: they may be inspected, and not used."""
        return list(filter(is_open, self._opened))


def sync_thread() -> SyncThread | None:
    """Return the thread in which this coroutine has an open transaction, if it has one."""
    context = SyncToAsync.thread_sensitive_context.get(None)
    executor: Executor | None = SyncToAsync.single_thread_executor
    if context is not None:
        executor = SyncToAsync.context_to_thread_executor.get(context)
    if executor is None:
        return None
    threads = {each.ident for each in tuple(getattr(executor, "_threads", ()))}
    opened = [connection for thread, connection in open_anywhere() if thread in threads]
    return SyncThread(executor, opened) if opened else None


def open_anywhere() -> list[tuple[int, BaseDatabaseWrapper]]:
    """Return each open transaction of this process: its thread, and its connection."""
    return [
        (thread, connection)
        for thread, reference in _connections.known
        if (connection := reference()) is not None and is_open(connection)
    ]


def wrap_executions(wrapper: Callable[..., Any]) -> None:
    """Let a wrapper (`BaseDatabaseWrapper.execute_wrapper`) execute every query from now on."""

    def wrap(connection: BaseDatabaseWrapper, **_: Any) -> None:
        # At the front: a block of `execute_wrapper` takes the last one away at its end.
        if wrapper not in connection.execute_wrappers:
            connection.execute_wrappers.insert(0, wrapper)

    connection_created.connect(wrap, weak=False, dispatch_uid=wrapper)
    for connection in _connections.all():
        wrap(connection)


def unwrap_executions(wrapper: Callable[..., Any]) -> None:
    """Let a wrapper execute no query from now on."""
    connection_created.disconnect(dispatch_uid=wrapper)
    for connection in _connections.all():
        with contextlib.suppress(ValueError):
            connection.execute_wrappers.remove(wrapper)


class Connections:
    """Every connection of this process, with its thread."""

    def __init__(self) -> None:
        self.known: tuple[tuple[int, weakref.ref[BaseDatabaseWrapper]], ...] = ()
        self.after_fork()
        forking.register(self)
        connection_created.connect(self._know)
        for connection in connections.all(initialized_only=True):
            self._know(connection)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def all(self) -> list[BaseDatabaseWrapper]:
        """Return those that are alive. Those of other threads must not be used."""
        return [found for _, reference in self.known if (found := reference()) is not None]

    def _know(self, connection: BaseDatabaseWrapper, **_: Any) -> None:
        if any(reference() is connection for _, reference in self.known):
            return
        with self._lock:
            alive = [each for each in self.known if each[1]() is not None]
            self.known = (*alive, (threading.get_ident(), weakref.ref(connection)))


_connections = Connections()
