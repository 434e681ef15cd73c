"""The database transactions that a coroutine is part of, which are in other threads than its own.

Django's connections belong to threads, and a coroutine's synchronous code runs in one that asgiref
chooses. What a coroutine does is part of a transaction there, of one of the thread that waits for
it (`async_to_sync`), and of one around the event loop itself (`asyncio.run` within ``atomic()``).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from typing import TYPE_CHECKING, Any

from asgiref.sync import AsyncToSync, SyncToAsync
from django.db import connections
from django.db.backends.signals import connection_created

from beaker_regions.config import isolation
from beaker_regions.runtime import forking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

    from django.db.backends.base.base import BaseDatabaseWrapper


def is_open(connection: BaseDatabaseWrapper) -> bool:
    """Whether somebody will commit or roll back a transaction on it, other than a test case."""
    if connection.in_atomic_block and is_test_cases(connection):
        return False
    return connection.in_atomic_block or bool(connection.connection and not connection.autocommit)


def is_test_cases(connection: BaseDatabaseWrapper) -> bool:
    """Whether all that is open on it are the blocks that Django's TestCase runs a test in, with
    regions of its own: nobody else sees what is done, and at its end rows and entries go."""
    blocks = connection.atomic_blocks
    return (
        bool(blocks)
        and all(getattr(block, "_from_testcase", False) for block in blocks)
        and isolation.folder() is not None
    )


def open_here() -> list[BaseDatabaseWrapper]:
    """Return the connections of this thread with an open transaction; for one that is managed by
    hand, Django refuses the commit hook."""
    return list(filter(is_open, connections.all(initialized_only=True)))


def has_loop() -> bool:
    """Whether this thread is running an event loop."""
    return asyncio._get_running_loop() is not None


@contextlib.contextmanager
def outside_of_the_loop() -> Iterator[None]:
    """Let this block have the connections of the thread, although an event loop is running in it:
    they are those of the synchronous code that runs the loop."""
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)


def is_waited_for() -> bool:
    """Whether a thread waits for this coroutine and does what it is given (`async_to_sync`)."""
    if getattr(AsyncToSync.executors, "current", None) is not None:
        return True
    return asyncio.get_running_loop() in AsyncToSync.loop_thread_executors


class Elsewhere:
    """The thread that does a coroutine's synchronous code, and what is open in it."""

    def __init__(self, executor: Executor, opened: list[BaseDatabaseWrapper]) -> None:
        self.executor = executor
        self._opened = opened

    @property
    def opened(self) -> list[BaseDatabaseWrapper]:
        """Connections to look at, and nothing else: they are another thread's."""
        return list(filter(is_open, self._opened))


def elsewhere() -> Elsewhere | None:
    """Return where the synchronous code of this coroutine has a transaction open, if it has."""
    context = SyncToAsync.thread_sensitive_context.get(None)
    executor: Executor | None = SyncToAsync.single_thread_executor
    if context is not None:
        executor = SyncToAsync.context_to_thread_executor.get(context)
    if executor is None:
        return None
    threads = {each.ident for each in tuple(getattr(executor, "_threads", ()))}
    opened = [connection for thread, connection in open_anywhere() if thread in threads]
    return Elsewhere(executor, opened) if opened else None


def open_anywhere() -> list[tuple[int, BaseDatabaseWrapper]]:
    """Return the threads of this process that have a transaction open, and on which connections."""
    return [
        (thread, connection)
        for thread, known in _connections.known
        if (connection := known()) is not None and is_open(connection)
    ]


class Connections:
    """Every connection, and the thread that it belongs to."""

    def __init__(self) -> None:
        self.known: tuple[tuple[int, weakref.ref[BaseDatabaseWrapper]], ...] = ()
        self.after_fork()
        forking.tell(self)
        connection_created.connect(self._know)
        for connection in connections.all(initialized_only=True):
            self._know(connection)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def _know(self, connection: BaseDatabaseWrapper, **_: Any) -> None:
        if any(known() is connection for _, known in self.known):
            return
        with self._lock:
            alive = [each for each in self.known if each[1]() is not None]
            self.known = (*alive, (threading.get_ident(), weakref.ref(connection)))


_connections = Connections()
