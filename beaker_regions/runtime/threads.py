"""Threads in which coroutines ask stores.

The threads of asyncio belong to the application. Its long jobs there would delay every hit, and a
job that waits there for a coroutine could wait for ever.
"""

from __future__ import annotations

import _thread
import atexit
import contextvars
import functools
import logging
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from beaker_regions.runtime import forking

logger = logging.getLogger("beaker_regions.runtime.threads")

LIMIT = 32
"""Most threads in a process; each has its own connections."""
AT_EXIT = 1.0
"""Seconds for which an ending process waits for running jobs, such as the release of a lease."""


class Job:
    """A function that a thread runs for a caller, which may end before it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._then: deque[Callable[[], object]] = deque()
        self.is_begun = False
        self.is_done = False
        self.value: Any = None
        self.error: BaseException | None = None

    def __call__(self) -> None:
        """Run the function, and keep its result or error."""
        self.is_begun = True
        try:
            self.value = self._function()
        except BaseException as error:
            self.error = error
        self.end()

    def end(self) -> None:
        """Mark it as done, and call the functions that wait for that."""
        self.is_done = True
        # Each is called once, by this thread or by one that calls `then` at this moment.
        while self._then:
            try:
                function = self._then.popleft()
            except IndexError:
                return
            function()

    def then(self, function: Callable[[], object]) -> None:
        """Call ``function`` when it is done, which may be now, in any thread."""
        self._then.append(function)
        if self.is_done:
            self.end()


class Threads:
    """Threads that are started when they are needed, and stay.

    Nothing here takes a lock: a finalizer may call `do` at any moment.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self.after_fork()
        forking.register(self)
        atexit.register(self._finish)

    def after_fork(self) -> None:
        self._work: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._undone: deque[None] = deque()
        """One item for each job that waits or runs."""
        self._unused: deque[None] = deque([None] * self._limit)
        """One item for each thread that may still be started."""

    def do(self, work: Callable[[], object]) -> None:
        """Let a thread do this soon. Raises RuntimeError if there is no thread and none can be
        started."""
        self._undone.append(None)
        self._work.put(work)
        if len(self._undone) <= self._limit - len(self._unused):
            return
        try:
            self._unused.pop()
        except IndexError:
            return  # the next free thread does it
        try:
            _thread.start_new_thread(self._run, (self._work, self._undone))
        except RuntimeError:
            self._unused.append(None)
            if len(self._unused) == self._limit:
                raise

    @staticmethod
    def _run(todo: SimpleQueue[Callable[[], object]], undone: deque[None]) -> None:
        while True:
            work = todo.get()
            _do(work)
            del work
            undone.pop()

    def _finish(self) -> None:
        until = time.monotonic() + AT_EXIT
        while self._undone and time.monotonic() < until:
            time.sleep(0.005)


def do_apart(work: Callable[[], object]) -> None:
    """Run code of the application in a thread of its own: it may take long, or wait for other
    threads. Raises RuntimeError if none can be started."""
    _thread.start_new_thread(_do, (work,))


def in_this_context(work: Callable[[], object]) -> Callable[[], object]:
    """Return ``work``, bound to a copy of the present context variables."""
    return functools.partial(contextvars.copy_context().run, work)


def _do(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception:
        logger.exception("a job that a coroutine left behind failed")


of_coroutines = Threads()
