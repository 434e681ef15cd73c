"""Loading the calls of a function in advance, in threads; ``warm=`` gives the calls.

Calls whose value is stored already are skipped. Every other call is loaded under its entry's
lease, as by any caller. So if several hosts warm at the same time, one of them loads each call. A
value that is invalidated during its load is not used.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import itertools
import random
import reprlib
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from beaker_regions.api.async_function import AsyncCachedFunction
from beaker_regions.api.cached import arguments
from beaker_regions.api.function import CachedFunction
from beaker_regions.engine import loading
from beaker_regions.engine.drivers import run
from beaker_regions.entries.entry import Entry, Lookup
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.errors import CacheError, ConfigurationError, StoreUnavailableError
from beaker_regions.runtime.interruptions import is_interruption

Function = CachedFunction[..., Any] | AsyncCachedFunction[..., Any]
Call = tuple[Any, ...]
RunCoroutine = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]

AT_ONCE = 100
"""Calls that are looked up in one round trip to each server, and then loaded."""
TRIES = 3
"""Attempts of a request to a store that does not answer, with pauses: it may be busy."""
NOT_STORED = "not_stored"
"""The kind of a failure: the store answers, but does not have the loaded value."""


@dataclass(slots=True)
class Warmed:
    """The results for one function so far."""

    function: str
    region: str
    calls: int = 0
    stored: int = 0
    """Calls whose value was stored already, or was stored by another process."""
    loaded: int = 0
    failed: int = 0
    """Loads that raised, and calls whose value could not be stored."""
    seconds: float = 0.0
    error: str | None = None
    """The first failure, with its call. None: every value is stored."""


class Warming:
    """Warms one function, with ``jobs`` threads that load.

    ``run_coroutine`` runs a coroutine function in such a thread and returns its result.
    ``close_connections`` closes the connections that loads have opened, such as those to databases.
    It is called in the thread, after a failed load and at the end. Raises ConfigurationError for a
    function without ``warm``.
    """

    def __init__(
        self,
        function: Function,
        jobs: int = 4,
        run_coroutine: RunCoroutine = lambda load: asyncio.run(load()),
        close_connections: Callable[[], None] = lambda: None,
    ) -> None:
        if function.warm is None:
            raise ConfigurationError(
                f"{function.name} has no warm=: a function without arguments, in the decorator, "
                f"that returns the calls to load"
            )
        self.done = Warmed(function.name, function.region.name)
        self._function = function
        self._region = function.region
        self._warm = function.warm
        self._jobs = jobs
        self._run_coroutine = run_coroutine
        self._close_connections = close_connections
        servers = function.region.options.memcached
        self._retry: float = servers.get("retry", 1.0 if "url" in servers else 0.0)
        self._tries = TRIES
        self._lock = threading.Lock()

    def run(self) -> Generator[None, None, None]:
        """Warm the function. Yields after each batch; `done` then has the results so far. Closing
        the generator skips the rest."""
        started = time.monotonic()
        missing: deque[tuple[Call, Entry]] = deque()
        threads: list[threading.Thread] = []
        try:
            for batch in self._batches():
                missing.extend(self._missing(batch))
                number = min(self._jobs, len(missing))
                threads = [
                    threading.Thread(target=self._work, args=[missing]) for _ in range(number)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                self.done.seconds = time.monotonic() - started
                yield
        except CacheError as error:
            self._note(str(error))
        except Exception as error:
            if is_interruption(error):
                raise
            self._note(f"{self._function.name}: warm= raised {error!r}")
        finally:
            missing.clear()
            for thread in threads:
                thread.join()
            self.done.seconds = time.monotonic() - started

    def _batches(self) -> Iterator[list[Call]]:
        if not self._region.enabled:
            raise ConfigurationError(
                f"{self._function.name}: region {self._region.name!r} is off, and stores nothing"
            )
        calls = map(arguments, self._warm())
        while batch := list(itertools.islice(calls, AT_ONCE)):
            yield batch

    def _missing(self, batch: list[Call]) -> Iterator[tuple[Call, Entry]]:
        """Look up calls in one round trip. Yields the calls that are not stored."""
        entries = [self._entry(call) for call in batch]
        for call, entry, found in zip(batch, entries, self._look_up(entries), strict=True):
            if isinstance(found, StoreUnavailableError):
                self._failed(call, found)  # and not loaded: the value could not be stored
            elif self._is_stored(entry, found):
                self._count("stored")
            else:
                yield call, entry

    def _entry(self, call: Call) -> Entry:
        try:
            return self._function.entry(*call)
        except (TypeError, CacheError) as error:
            signature = f"{self._function.name}{inspect.signature(self._function)}: "
            reason = str(error).removeprefix(signature)
            raise ConfigurationError(f"{signature}warm= gives {_shown(call)}: {reason}") from error

    def _look_up(self, entries: list[Entry]) -> list[Lookup | StoreUnavailableError]:
        for tries_left in reversed(range(self._tries)):
            found = self._region.store.read_many(entries)
            failed = any(isinstance(each, StoreUnavailableError) for each in found)
            if not failed or not tries_left:
                break
            self._pause()
        # Wait once for a server that is down, and not at every batch.
        self._tries = 1 if failed else TRIES
        return found

    def _pause(self) -> None:
        """Wait longer than the time for which a failed server is not asked."""
        time.sleep(random.uniform(1.1, 2.0) * self._retry)

    def _is_stored(self, entry: Entry, lookup: Lookup) -> bool:
        expire = self._function.policy.expire
        return self._region.value_if_younger(entry, lookup, expire) is not MISSING

    def _work(self, missing: deque[tuple[Call, Entry]]) -> None:
        try:
            while missing:
                with contextlib.suppress(IndexError):  # another thread took the last one
                    self._load(*missing.popleft())
        finally:
            self._close_connections()

    def _load(self, call: Call, entry: Entry) -> None:
        for tries_left in reversed(range(self._tries)):
            try:
                self._count(self._try(call, entry))
                return
            except BaseException as error:
                if isinstance(error, StoreUnavailableError) and tries_left:
                    if error.kind != NOT_STORED:
                        self._pause()
                    continue
                self._failed(call, error)
                self._close_connections()
                return

    def _try(self, call: Call, entry: Entry) -> str:
        """Load one call. Returns the field of `Warmed` that counts it."""
        region, policy = self._region, self._function.policy
        seen = region.store.read(entry)
        if self._is_stored(entry, seen):
            return "stored"
        load = _Load(self._function, call, self._run_coroutine)
        # A coroutine function is loaded in the same way: this thread may wait.
        value = run(loading.load(region, entry, seen, policy), load)
        if load.error is not None:
            raise load.error  # a stale value was served instead
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
    """Runs the function, and records whether it was called, and its exception."""

    def __init__(self, function: Function, call: Call, run_coroutine: RunCoroutine) -> None:
        self._load: Callable[[], Any] = functools.partial(function.uncached, *call)
        if isinstance(function, AsyncCachedFunction):
            self._load = functools.partial(run_coroutine, self._load)
        self.made = False
        self.error: Exception | None = None

    def __call__(self) -> Any:
        self.made = True
        try:
            return self._load()
        except Exception as error:
            self.error = error
            raise


def _shown(call: Call) -> str:
    return f"({', '.join(map(reprlib.repr, call))})"
