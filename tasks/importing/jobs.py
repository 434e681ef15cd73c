"""Calls a function for many items, in several threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

SIGNAL_SECONDS = 0.5
"""The most seconds that the main thread waits without a look at its signals. A signal that comes
just before a wait, or to another thread, does not end the wait."""


def map_as_completed(
    jobs: int, function: Callable[[T], R], items: Iterable[T]
) -> Generator[tuple[T, R], None, None]:
    """Yield each item with the function's result for it, in the order of completion.

    ``jobs`` threads call the function; if that is 1, the calling thread does. An exception of the
    function is raised here. A caller that stops early closes the generator, and no other item is
    begun.
    """
    if jobs == 1:
        for item in items:
            yield item, function(item)
        return
    work = _Work(function)
    for _ in range(jobs):
        # A daemon thread, so that the process can end without it.
        threading.Thread(target=work.run, daemon=True).start()
    begun = 0
    try:
        for item in items:
            work.todo.put(item)
            begun += 1
            # One item in work and one waiting for each thread, no more: results are open files.
            while begun > 2 * jobs or not work.done.empty():
                yield work.result()
                begun -= 1
        for _ in range(begun):
            yield work.result()
    finally:
        work.over = True
        for _ in range(jobs):
            work.todo.put(None)


class _Work(Generic[T, R]):
    def __init__(self, function: Callable[[T], R]) -> None:
        self._function = function
        self.todo: SimpleQueue[T | None] = SimpleQueue()
        self.done: SimpleQueue[tuple[T, Future[R]]] = SimpleQueue()
        self.over = False

    def run(self) -> None:
        while (item := self.todo.get()) is not None and not self.over:
            future: Future[R] = Future()
            try:
                future.set_result(self._function(item))
            except BaseException as error:
                future.set_exception(error)
            self.done.put((item, future))

    def result(self) -> tuple[T, R]:
        """Wait for the next result."""
        while True:
            with contextlib.suppress(Empty):
                item, future = self.done.get(timeout=SIGNAL_SECONDS)
                break
        return item, future.result()
