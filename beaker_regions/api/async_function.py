"""The cached form of a coroutine function: as `beaker_regions.api.function`, awaited."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, overload

from beaker_regions.api.cached import Cached, arguments
from beaker_regions.engine.drivers import ReadContent, in_thread, run_async
from beaker_regions.engine.store import Reading
from beaker_regions.entries.content import is_content
from beaker_regions.entries.entry import Entry, Lookup
from beaker_regions.entries.sentinels import MISSING, UNKNOWN
from beaker_regions.telemetry import tracing

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


class Found(NamedTuple):
    """The result of the lookup for a call."""

    lookup: Lookup | None
    value: Any
    """MISSING: a call loads."""


class AsyncCachedFunction(Cached[P], Generic[P, R]):
    """A coroutine function whose results are stored in a region. `CacheManager.region` makes it.

    It has the methods of `CachedFunction`, as coroutine functions. The event loop never waits for
    the store. In a region on memcached or Redis a hit takes no thread: the loop has a connection
    of its own. Everything else is asked in threads.

    Example::

        @cache.region("functions")
        async def price_of(article: str) -> int: ...


        await price_of("milk")
        await price_of.invalidate("milk")
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what `CachedFunction` takes. `CacheManager.region` calls this."""
        super().__init__(*args, **kwargs)
        _mark_coroutine_function(self)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the stored value, or load it, as `CachedFunction.__call__`.

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            The value.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.
            Exception: That of the function, if no stale value may be served instead.
        """
        region = self.region
        call = self._prefix + args
        if not region.enabled:
            return await self._unstored(await self._function(*call, **kwargs))  # type: ignore[no-any-return]
        if not tracing.watchers:  # without the cost of a block: this is every hit
            entry = self._entry(call, kwargs)
            reading = self._begin_lookup(entry)
            if reading is None:
                lookup, value = await self._look_up_in_thread(entry)
            else:
                for answer in reading.answers:
                    await answer
                lookup = reading.lookup_in_loop()
                value = lookup and self._value_in_loop(entry, lookup, self._policy)
                if lookup is None or value is UNKNOWN:
                    lookup, value = await self._found_in_thread(entry, reading)
            if value is MISSING or lookup is None:
                return await self._value(entry, lookup, value, call, kwargs)
            self._stats.hit(entry, lookup, value)
            return value  # type: ignore[no-any-return]
        with tracing.call(region.name, self.name):
            entry = self._entry(call, kwargs)
            lookup, value = await self._look_up(entry)
            return await self._value(entry, lookup, value, call, kwargs)

    async def many(self, calls: Iterable[Any]) -> list[R]:
        """Return the values of many calls, in their order, as `CachedFunction.many`.

        Args:
            calls: The calls. Each is the tuple of its arguments, or its only argument if that is
                not a tuple.

        Returns:
            One value for each call.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.
            Exception: That of the function, if no stale value may be served instead.
        """
        given = [self._prefix + arguments(call) for call in calls]
        if not self.region.enabled:
            return [await self._unstored(await self._function(*call)) for call in given]
        with tracing.call(self.region.name, self.name, len(given)):
            entries = [self._entry(call, {}) for call in given]
            found = await self._look_up_many(entries)
            return [
                await self._value(entry, lookup, value, call, {})
                for entry, (lookup, value), call in zip(entries, found, given, strict=True)
            ]

    async def _unstored(self, value: Any) -> Any:
        return (
            (await in_thread(ReadContent(self.region.store.pass_through, value)))
            if is_content(value)
            else value
        )

    async def _look_up(self, entry: Entry) -> Found:
        reading = self._begin_lookup(entry)
        if reading is None:
            return await self._look_up_in_thread(entry)
        return await self._read(entry, reading)

    async def _look_up_in_thread(self, entry: Entry) -> Found:
        (found,) = await in_thread(functools.partial(self._look_up_here, [entry]))
        return found

    async def _look_up_many(self, entries: list[Entry]) -> list[Found]:
        begun = [self._begin_lookup(entry) for entry in entries]
        readings = [reading for reading in begun if reading is not None]
        if len(readings) < len(entries):
            return await in_thread(functools.partial(self._look_up_here, entries))
        return [
            await self._read(entry, reading)
            for entry, reading in zip(entries, readings, strict=True)
        ]

    def _look_up_here(self, entries: list[Entry]) -> list[Found]:
        """Look up entries, in a thread that may wait."""
        return [
            Found(lookup, self._value_if_fresh(entry, lookup, self._policy))
            for entry, lookup in zip(entries, self._lookup_many(entries), strict=True)
        ]

    async def _read(self, entry: Entry, reading: Reading) -> Found:
        for answer in reading.answers:
            await answer
        lookup = reading.lookup_in_loop()
        value = lookup and self._value_in_loop(entry, lookup, self._policy)
        if lookup is None or value is UNKNOWN:
            return await self._found_in_thread(entry, reading)
        return Found(lookup, value)

    async def _found_in_thread(self, entry: Entry, reading: Reading) -> Found:
        def find() -> Found:
            lookup = self._end_lookup(entry, reading)
            return Found(lookup, self._value_if_fresh(entry, lookup, self._policy))

        return await in_thread(find)

    async def _value(
        self,
        entry: Entry,
        lookup: Lookup | None,
        value: Any,
        call: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> R:
        if value is MISSING:
            flow = self._load_flow(entry, lookup)
            return await run_async(flow, self._load(call, kwargs))  # type: ignore[no-any-return]
        return self._hit(entry, lookup, value)  # type: ignore[no-any-return]

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function, store its value and return it (write-through).

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            The new value.

        Raises:
            Exception: That of the function.
        """
        call = self._prefix + args
        if not self.region.enabled:
            return await self._unstored(await self._function(*call, **kwargs))  # type: ignore[no-any-return]
        flow = self._refresh_flow(self._entry(call, kwargs))
        with tracing.call(self.region.name, self.name, 0):
            return await run_async(flow, self._load(call, kwargs))  # type: ignore[no-any-return]

    def _load(self, call: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Awaitable[Any]]:
        """Return the function with its arguments, as a load runs it."""
        load = functools.partial(self._function, *call, **kwargs)
        return load if self._dependents is None else self._dependents.async_dependent(load)

    async def peek(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Return the stored value, and never load.

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            The value, or None if a call would load.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.
        """
        if not self.region.enabled:
            return None
        _, value = await self._look_up(self._entry(self._prefix + args, kwargs))
        return None if value is MISSING else value

    async def uncached(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself. Nothing is looked up or stored.

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            The value that the function returns.

        Raises:
            Exception: That of the function.
        """
        return await self._function(*self._prefix, *args, **kwargs)  # type: ignore[no-any-return]

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Invalidate one call: no read that starts afterwards returns a value from before.

        Args:
            *args: The arguments of the call.
            **kwargs: The arguments of the call.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.
        """
        await in_thread(functools.partial(self._invalidate, args, kwargs))

    async def invalidate_all(self) -> None:
        """Invalidate every call of the function, with one write."""
        await in_thread(self._invalidate_all)

    @overload
    def __get__(
        self: AsyncCachedFunction[Concatenate[type[S], Q], R], instance: Any, owner: type[S]
    ) -> AsyncCachedFunction[Q, R]: ...
    @overload
    def __get__(self, instance: None, owner: Any) -> AsyncCachedFunction[P, R]: ...
    @overload
    def __get__(
        self: AsyncCachedFunction[Concatenate[S, Q], R], instance: S, owner: Any
    ) -> AsyncCachedFunction[Q, R]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        return self._bind(instance, owner)


def _mark_coroutine_function(function: Any) -> None:
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(function)
    else:
        function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
