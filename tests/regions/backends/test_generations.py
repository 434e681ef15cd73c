"""The table of generations: an invalidation is one moment, whatever it covers."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.regions.children import fork
from tests.regions.conftest import Calls, Manager

if TYPE_CHECKING:
    from collections.abc import Callable

TAGS = [f"tag {number}" for number in range(6)]


class Nested:
    """Functions that are each made of the one before, and of each a tag of its own."""

    def __init__(self, file_manager: Manager) -> None:
        self.cache = file_manager()
        self.truth = self.loads = 0
        self._functions = [self._function(None, TAGS[0])]
        for tag in TAGS[1:]:
            self._functions.append(self._function(self._functions[-1], tag))

    def _function(self, inner: Callable[[], int] | None, tag: str) -> Callable[[], int]:
        def load() -> int:
            self.loads += 1
            return inner() if inner else self.truth

        return self.cache.region("functions", key=lambda: tag, tags=[tag])(load)

    def read(self) -> set[int]:
        # The outer ones first: these ask for the inner ones.
        return {function() for function in reversed(self._functions)}

    def change(self) -> None:
        self.truth += 1
        self.cache.invalidate_tags(*TAGS)


def in_another_thread(read: Callable[[], Any]) -> None:
    thread = threading.Thread(target=read)
    thread.start()
    thread.join()


def at_each_change(monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    """Do something before each place of the table that this thread changes."""
    pwrite, mine = os.pwrite, threading.get_ident()

    def disturbed(*args: Any) -> int:
        if threading.get_ident() == mine:
            do()
        return pwrite(*args)

    monkeypatch.setattr(os, "pwrite", disturbed)


def test_a_load_in_the_midst_of_an_invalidation_is_not_stored(
    file_manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested = Nested(file_manager)
    assert nested.read() == {0}
    moments = Calls()

    def use() -> None:
        nested.cache.invalidate_tags("another")  # what was read before counts no more
        nested.read()

    def disturb() -> None:
        moments()
        in_another_thread(use)

    at_each_change(monkeypatch, disturb)
    for _ in range(5):
        nested.change()
        assert nested.read() == {nested.truth}
    assert moments.count == 5 * (len(TAGS) + 1)


@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_who_is_stopped_while_it_invalidates_stops_nobody(
    file_manager: Manager, monkeypatch: pytest.MonkeyPatch, end: signal.Signals
) -> None:
    nested = Nested(file_manager)
    assert nested.read() == {0}

    def stopped() -> None:
        moments = iter(range(len(TAGS)))

        def stop_at_the_third() -> None:
            if next(moments, None) == 2:
                os.kill(os.getpid(), signal.SIGSTOP)

        at_each_change(monkeypatch, stop_at_the_third)
        nested.cache.invalidate_tags(*TAGS)

    child = fork(stopped)
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    nested.change()  # as another process, which the first one does not hold up
    assert nested.read() == {1}
    loads = nested.loads
    assert nested.read() == {1}
    assert nested.loads > loads, "nothing is stored that may be made of what is to change"
    os.kill(child, end)
    os.waitpid(child, 0)
    assert nested.read() == {1}
    loads = nested.loads
    assert nested.read() == {1}
    assert nested.loads == loads, "all of it is stored again"
