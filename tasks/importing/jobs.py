"""Doing something with many things, several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def done_by(
    jobs: int, function: Callable[[T], R], things: Iterable[T]
) -> Generator[tuple[T, R], None, None]:
    """Yield things and what the function returns for each, as each is done; ``jobs`` threads call
    it, and this one if that is 1. What it raises is raised here. Whoever does not go on to the
    end closes the iterator: nothing more is begun then.
    """
    if jobs == 1:
        for thing in things:
            yield thing, function(thing)
        return
    work = _Work(function)
    for _ in range(jobs):
        # A daemon: the end of the process does not wait for it.
        threading.Thread(target=work.run, daemon=True).start()
    begun = 0
    try:
        for thing in things:
            work.todo.put(thing)
            begun += 1
            # One for each thread to go on with, and no more: what is done is open.
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
        while (thing := self.todo.get()) is not None and not self.over:
            future: Future[R] = Future()
            try:
                future.set_result(self._function(thing))
            except BaseException as error:
                future.set_exception(error)
            self.done.put((thing, future))

    def result(self) -> tuple[T, R]:
        """Wait for the next thing that is done."""
        thing, future = self.done.get()
        return thing, future.result()
