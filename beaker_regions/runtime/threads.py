"""Threads for what coroutines ask of stores.

Those of asyncio belong to the application: what it does there for seconds would hold up each hit,
and what waits there for a coroutine would wait for ever.
"""

from __future__ import annotations

import _thread
import atexit
import contextvars
import functools
import logging
import time
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from beaker_regions.runtime import forking

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("beaker_regions.runtime.threads")

LIMIT = 32
"""Threads in a process at the most; each has connections of its own."""
AT_EXIT = 1.0
"""Seconds for which a process that ends waits for what is being done, such as a lease that is
given back."""


class Job:
    """Something that a thread does for somebody, who may go away meanwhile."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._then: deque[Callable[[], object]] = deque()
        self.is_begun = False
        self.is_done = False
        self.value: Any = None
        self.error: BaseException | None = None

    def __call__(self) -> None:
        """Do it; the outcome is kept."""
        self.is_begun = True
        try:
            self.value = self._function()
        except BaseException as error:
            self.error = error
        self.end()

    def end(self) -> None:
        """Tell everybody that it is done."""
        self.is_done = True
        # Each is told once, whoever comes first: this thread, or who asks at this moment.
        while self._then:
            try:
                function = self._then.popleft()
            except IndexError:
                return
            function()

    def then(self, function: Callable[[], object]) -> None:
        """Call ``function`` when it is done, which may be now; in any thread."""
        self._then.append(function)
        if self.is_done:
            self.end()


class Threads:
    """Threads that are made when they are needed, and stay.

    Nothing here takes a lock: a finalizer may ask for something to be done, at any moment.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self.after_fork()
        forking.tell(self)
        atexit.register(self._finish)

    def after_fork(self) -> None:
        self._work: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._undone: deque[None] = deque()
        """As many as there is to do, or being done."""
        self._places: deque[None] = deque([None] * self._limit)
        """As many as there are threads that could be made."""

    def do(self, work: Callable[[], object]) -> None:
        """Let a thread do this soon. Raises RuntimeError when there is none and none can be
        made."""
        self._undone.append(None)
        self._work.put(work)
        if len(self._undone) <= self._limit - len(self._places):
            return
        try:
            self._places.pop()
        except IndexError:
            return  # who is ready first does it
        try:
            _thread.start_new_thread(self._run, (self._work, self._undone))
        except RuntimeError:
            self._places.append(None)
            if len(self._places) == self._limit:
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
    """Let a thread of its own do what is the application's, and may take long, or wait for what
    other threads do. Raises RuntimeError when none can be made."""
    _thread.start_new_thread(_do, (work,))


def in_this_context(work: Callable[[], object]) -> Callable[[], object]:
    """Return ``work`` with the context variables as they are here, wherever it is done."""
    return functools.partial(contextvars.copy_context().run, work)


def _do(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception:
        logger.exception("what a coroutine has left behind failed")


of_coroutines = Threads()
