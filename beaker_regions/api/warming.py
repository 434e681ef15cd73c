"""Loading the calls of a function before anybody makes them.

Which calls are worth it only the application knows: the decorator's ``warm`` returns them. Those
that are not stored are loaded as their callers would, under the entry's lease: of hosts that do it
at once one loads each call, and a value that is invalidated meanwhile is served to nobody.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import random
import reprlib
import threading
import time
from dataclasses import dataclass
from queue import Queue
from typing import TYPE_CHECKING, Any

from beaker_regions.api.async_function import AsyncCachedFunction
from beaker_regions.api.function import arguments
from beaker_regions.engine import loading
from beaker_regions.engine.drivers import run
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.errors import CacheError, ConfigurationError, StoreUnavailableError
from beaker_regions.runtime.interruptions import is_interruption

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterator

    from beaker_regions.api.function import CachedFunction
    from beaker_regions.entries.entry import Entry, Lookup

    Function = CachedFunction[..., Any] | AsyncCachedFunction[..., Any]
    Call = tuple[Any, ...]
    Complete = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]

AT_ONCE = 100
"""Calls that are looked up in one round trip to each server."""
TRIES = 3
"""How often a store is asked that does not take part, with a pause in between: it may be busy."""
NOT_STORED = "not_stored"
"""The kind of failure where the store takes part, and has not got the value."""


@dataclass(slots=True)
class Warmed:
    """What has come of the calls of one function so far."""

    function: str
    region: str
    calls: int = 0
    stored: int = 0
    """By an earlier load, or by somebody else's."""
    loaded: int = 0
    failed: int = 0
    """Loads that raised, and calls whose value could not be stored."""
    seconds: float = 0.0
    error: str | None = None
    """The first that went wrong, with the call's name; None: everything is stored."""


class Warming:
    """Warms one function, with ``jobs`` threads that load.

    ``complete`` runs a coroutine function in such a thread and returns its result; ``let_go`` is
    called in the thread after a load has failed, and at its end, to close what it has open.
    Raises ConfigurationError for a function without ``warm``.
    """

    def __init__(
        self,
        function: Function,
        jobs: int = 4,
        complete: Complete = lambda load: asyncio.run(load()),
        let_go: Callable[[], None] = lambda: None,
    ) -> None:
        if function.warm is None:
            raise ConfigurationError(
                f"{function.name} has no warm=: a function without arguments, in the decorator, "
                f"that returns the calls to load"
            )
        self.done = Warmed(function.name, function.region.name)
        self._function = function
        self._region = function.region
        servers = function.region.options.memcached
        self._retry: float = servers.get("retry", 1.0 if "url" in servers else 0.0)
        self._tries = TRIES
        self._warm = function.warm
        self._jobs = jobs
        self._complete = complete
        self._let_go = let_go
        self._missing: Queue[tuple[Call, Entry] | None] = Queue(2 * jobs)
        self._given_up = False
        self._lock = threading.Lock()

    def run(self) -> Generator[None, None, None]:
        """Do it, with a look at `done` now and then. Who stops in between gives up the rest."""
        started = time.monotonic()
        threads = [threading.Thread(target=self._work) for _ in range(self._jobs)]
        for thread in threads:
            thread.start()
        try:
            for _ in self._look():
                self.done.seconds = time.monotonic() - started
                yield
        except CacheError as error:
            self._note(str(error))
        except Exception as error:
            if is_interruption(error):
                raise
            self._note(f"{self._function.name}: warm= raised {error!r}")
        except BaseException:
            self._given_up = True
            raise
        finally:
            for _ in threads:
                self._missing.put(None)
            for thread in threads:
                thread.join()
            self.done.seconds = time.monotonic() - started

    def _look(self) -> Iterator[None]:
        """Look the calls up, and hand on those that are not stored."""
        if not self._region.enabled:
            raise ConfigurationError(
                f"{self._function.name}: region {self._region.name!r} is off, and stores nothing"
            )
        calls = map(arguments, self._warm())
        while batch := list(itertools.islice(calls, AT_ONCE)):
            entries = [self._entry(call) for call in batch]
            for call, entry, reading in zip(batch, entries, self._read(entries), strict=True):
                if isinstance(reading, StoreUnavailableError):
                    # Not loaded: it could not be stored.
                    self._failed(call, reading)
                elif self._is_stored(entry, reading):
                    self._count("stored")
                else:
                    self._missing.put((call, entry))
            yield

    def _read(self, entries: list[Entry]) -> list[Lookup | StoreUnavailableError]:
        found = self._region.store.read_many(entries)
        for _ in range(self._tries - 1):
            if not _is_away(found):
                break
            self._pause()
            found = self._region.store.read_many(entries)
        # A server that is down is waited for once, and not at every batch.
        self._tries = 1 if _is_away(found) else TRIES
        return found

    def _is_stored(self, entry: Entry, reading: Lookup) -> bool:
        expire = self._function.policy.expire
        return self._region.value_if_younger(entry, reading, expire) is not MISSING

    def _pause(self) -> None:
        """Wait for longer than a server that did not answer is left alone."""
        time.sleep(random.uniform(1.1, 2.0) * self._retry)

    def _entry(self, call: Call) -> Entry:
        try:
            return self._function.entry(*call)
        except (TypeError, CacheError) as error:
            called = f"{self._function.name}{inspect.signature(self._function)}: "
            reason = str(error).removeprefix(called)
            raise ConfigurationError(f"{called}warm= gives {_shown(call)}: {reason}") from error

    def _work(self) -> None:
        try:
            while (missing := self._missing.get()) is not None:
                if self._given_up:
                    continue
                try:
                    self._count(self._load(*missing))
                except BaseException as error:
                    self._failed(missing[0], error)
                    self._let_go()
        finally:
            self._let_go()

    def _load(self, call: Call, entry: Entry) -> str:
        """Return whether the value was loaded, or stored by somebody else meanwhile."""
        for _ in range(self._tries - 1):
            try:
                return self._try(call, entry)
            except StoreUnavailableError as error:
                if error.kind != NOT_STORED:
                    self._pause()
        return self._try(call, entry)

    def _try(self, call: Call, entry: Entry) -> str:
        region, policy = self._region, self._function.policy
        seen = region.store.read(entry)
        if self._is_stored(entry, seen):
            return "stored"
        load = _Load(self._function, call, self._complete)
        # The steps are those of a call, also for a coroutine function: this thread may wait.
        value = run(loading.load(region, entry, seen, policy), load)
        if load.error is not None:
            # Behind which an old value was served.
            raise load.error
        if not load.made:
            return "stored"
        worth_storing = policy.store_if is None or policy.store_if(value)
        if worth_storing and region.store.read(entry).record in (None, seen.record):
            raise StoreUnavailableError(NOT_STORED, "loaded, but not stored; the log says why")
        return "loaded"

    def _count(self, outcome: str) -> None:
        with self._lock:
            self.done.calls += 1
            setattr(self.done, outcome, getattr(self.done, outcome) + 1)

    def _failed(self, call: Call, error: BaseException) -> None:
        self._count("failed")
        reason = str(error) if isinstance(error, CacheError) else repr(error)
        self._note(f"{self._function.name}{_shown(call)}: {reason}")

    def _note(self, error: str) -> None:
        with self._lock:
            self.done.error = self.done.error or error


class _Load:
    """Runs the function, and tells whether that was needed and what it raised."""

    def __init__(self, function: Function, call: Call, complete: Complete) -> None:
        self._load: Callable[[], Any] = functools.partial(function.uncached, *call)
        if isinstance(function, AsyncCachedFunction):
            self._load = functools.partial(complete, self._load)
        self.made = False
        self.error: Exception | None = None

    def __call__(self) -> Any:
        self.made = True
        try:
            return self._load()
        except Exception as error:
            self.error = error
            raise


def _is_away(found: list[Lookup | StoreUnavailableError]) -> bool:
    return any(isinstance(each, StoreUnavailableError) for each in found)


def _shown(call: Call) -> str:
    return f"({', '.join(map(reprlib.repr, call))})"
