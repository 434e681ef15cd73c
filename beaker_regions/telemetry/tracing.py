"""Watching calls as they happen: for a log, for the toolbar of a page, for a trace.

Usually there are no `watchers`, and then a call only tests for that. Calls are those of cached
functions, of pages, and of fragments of templates.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

logger = logging.getLogger("beaker_regions.calls")


class Call:
    """One call; or several of one function at once, as `many` makes them."""

    __slots__ = (
        "events",
        "failed",
        "function",
        "is_over",
        "outer",
        "region",
        "round_trips",
        "seconds",
        "size",
    )

    def __init__(self, region: str, function: str, size: int, outer: Call | None) -> None:
        self.region = region
        self.function = function
        self.size = size
        """The number of calls at once; 0 for a refresh, because it looks nothing up."""
        self.outer = outer
        """The call whose load makes this one."""
        self.seconds = 0.0
        """Its duration, including the calls of its load."""
        self.round_trips = 0
        """Round trips to servers, without those of the calls of its load."""
        self.failed = False
        """Whether it raised."""
        self.is_over = False
        self.events: Counter[str] = Counter()
        """Its counted events (`beaker_regions.telemetry.recorder`), without plain hits."""

    @property
    def hits(self) -> int:
        return 0 if self.failed else max(0, self.size - self.stale - self.misses)

    @property
    def stale(self) -> int:
        return self.events["stale"]

    @property
    def misses(self) -> int:
        return self.events["misses"]

    @property
    def depth(self) -> int:
        """The number of loads that it is a part of."""
        return 0 if self.outer is None else self.outer.depth + 1

    @property
    def outcome(self) -> str:
        """The outcome: hit, stale, miss, bypassed, refresh or error; for several calls at once, the
        number of each."""
        if self.failed:
            return "error"
        if self.size == 0:
            return "refresh"
        if self.size > 1:
            found = {"hit": self.hits, "stale": self.stale, "miss": self.misses}
            return ", ".join(f"{number} {name}" for name, number in found.items() if number)
        if self.stale:
            return "stale"
        if self.misses:
            return "bypassed" if self.events["bypassed"] else "miss"
        return "hit"


Watcher = Callable[[Call], AbstractContextManager[Any]]
"""Makes the block in which a call is made. At the block's end the call has its outcome."""

_UNWATCHED = nullcontext()
watchers: tuple[Watcher, ...] = ()
_current: ContextVar[Call | None] = ContextVar("_current", default=None)


def watch(watcher: Watcher) -> None:
    """Let a watcher watch every call of this process from now on."""
    global watchers
    if watcher not in watchers:
        watchers = (*watchers, watcher)


def unwatch(watcher: Watcher) -> None:
    """Let a watcher watch no call from now on."""
    global watchers
    watchers = tuple(each for each in watchers if each is not watcher)


def call(region: str, function: str, size: int = 1) -> AbstractContextManager[object]:
    """Return a block that the watchers observe as one call; without watchers it does nothing."""
    return _watched(region, function, size) if watchers else _UNWATCHED


@contextmanager
def _watched(region: str, function: str, size: int) -> Iterator[Call]:
    made = Call(region, function, size, _running())
    with ExitStack() as stack:
        for watcher in watchers:
            stack.enter_context(watcher(made))
        token = _current.set(made)
        started = time.perf_counter()
        try:
            yield made
        except BaseException:
            made.failed = True
            raise
        finally:
            made.is_over = True
            made.seconds = time.perf_counter() - started
            _current.reset(token)


def _running() -> Call | None:
    """Return the call that is being made. A task that outlives its call is in none."""
    made = _current.get()
    return None if made is None or made.is_over else made


def count(event: str, function: str, number: int) -> None:
    """Count an event for the call that is being made, if it is a call of that function."""
    made = _running()
    if made is not None and made.function == function:
        made.events[event] += number


def count_round_trip() -> None:
    """Count a round trip for the call that is being made."""
    if made := _running():
        made.round_trips += 1
    for collected in _collecting.get():
        if collected.is_open:
            collected.round_trips += 1


class CountingConnection:
    """Wraps a connection to a server, and counts each call of a method as a round trip."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, method: str) -> Any:
        count_round_trip()
        return getattr(self._connection, method)


# -- watchers -----------------------------------------------------------------------------------


class Collected:
    """The calls that were made in a block, in their order. Later calls are left out."""

    def __init__(self) -> None:
        self.is_open = True
        self.calls: list[Call] = []
        self.round_trips = 0
        """All round trips, including those of sessions and counters."""

    @property
    def hits(self) -> int:
        return sum(call.hits for call in self.calls)

    @property
    def stale(self) -> int:
        return sum(call.stale for call in self.calls)

    @property
    def misses(self) -> int:
        return sum(call.misses for call in self.calls)

    @property
    def seconds(self) -> float:
        """The calls of a load are part of the call that loads."""
        return sum(call.seconds for call in self.calls if call.outer is None)


_collecting: ContextVar[tuple[Collected, ...]] = ContextVar("_collecting", default=())


_collectors = 0
_lock = threading.RLock()


def _add_collector(number: int) -> None:
    """Watch calls as long as any thread collects them."""
    global _collectors
    with _lock:
        _collectors += number
        (watch if _collectors else unwatch)(_collect)


@contextmanager
def collecting() -> Iterator[Collected]:
    """Collect the calls in this block, of this thread or task and of those that it starts."""
    _add_collector(1)
    collected = Collected()
    around = (each for each in _collecting.get() if each.is_open)
    token = _collecting.set((*around, collected))
    try:
        yield collected
    finally:
        collected.is_open = False
        _add_collector(-1)
        _collecting.reset(token)


@contextmanager
def _collect(call: Call) -> Iterator[None]:
    for collected in _collecting.get():
        if collected.is_open:
            collected.calls.append(call)
    yield


def log_calls() -> None:
    """Log every call of this process at DEBUG, to the logger "beaker_regions.calls"; the records
    have the attributes ``region``, ``function``, ``outcome`` and ``milliseconds``."""
    watch(_log)


@contextmanager
def _log(call: Call) -> Iterator[None]:
    try:
        yield
    finally:
        fields = {
            "region": call.region,
            "function": call.function,
            "outcome": call.outcome,
            "milliseconds": round(call.seconds * 1e3, 3),
        }
        logger.debug(
            "%(region)s: %(function)s: %(outcome)s in %(milliseconds)s ms", fields, extra=fields
        )
