"""The decorated coroutine function: as `regions.function`, awaited."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from beaker_regions.api.function import Cached, arguments
from beaker_regions.engine import loading
from beaker_regions.engine.drivers import ReadContent, in_thread, run_async
from beaker_regions.entries.content import is_content
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.telemetry import tracing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from beaker_regions.entries.entry import Entry, Lookup

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


class AsyncCachedFunction(Cached[P], Generic[P, R]):
    """A coroutine function whose results are kept in a region.

    As `CachedFunction`, awaited; what talks to the store runs in threads.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _mark_coroutine_function(self)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        region = self.region
        call = self._prefix + args
        if not region.enabled:
            return await self._unstored(await self._function(*call, **kwargs))  # type: ignore[no-any-return]
        if tracing.watchers:
            with tracing.call(region.name, self.name):
                return await self._called(call, kwargs)
        return await self._called(call, kwargs)

    async def _called(self, call: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        entry = self._entry(call, kwargs)
        ((reading, value),) = await in_thread(functools.partial(self._look, [entry]))
        return await self._value(entry, reading, value, call, kwargs)

    async def many(self, calls: Iterable[Any]) -> list[R]:
        given = [self._prefix + arguments(call) for call in calls]
        if not self.region.enabled:
            return [await self._unstored(await self._function(*call)) for call in given]
        if tracing.watchers:
            with tracing.call(self.region.name, self.name, len(given)):
                return await self._values(given)
        return await self._values(given)

    async def _values(self, given: list[tuple[Any, ...]]) -> list[R]:
        entries = [self._entry(call, {}) for call in given]
        found = await in_thread(functools.partial(self._look, entries))
        return [
            await self._value(entry, reading, value, call, {})
            for entry, (reading, value), call in zip(entries, found, given, strict=True)
        ]

    async def _unstored(self, value: Any) -> Any:
        return (
            (await in_thread(ReadContent(self.region.store.pass_through, value)))
            if is_content(value)
            else value
        )

    def _look(self, entries: list[Entry]) -> list[tuple[Lookup | None, Any]]:
        """Return what the store has of the entries, and the values that may be served."""
        region = self.region
        return [
            (reading, region.value_if_fresh(entry, reading, self._policy))
            for entry, reading in zip(entries, region.look_many(entries), strict=True)
        ]

    async def _value(
        self,
        entry: Entry,
        reading: Lookup | None,
        value: Any,
        call: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> R:
        region = self.region
        if value is MISSING:
            load = functools.partial(self._function, *call, **kwargs)
            protocol = loading.load(region, entry, reading, self._policy)
            return await run_async(protocol, load)  # type: ignore[no-any-return]
        if reading is not None and reading.record is not None:
            self._stats.hit(entry, reading, reading.record, value)
        return value  # type: ignore[no-any-return]

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        call = self._prefix + args
        load = functools.partial(self._function, *call, **kwargs)
        if not self.region.enabled:
            return await self._unstored(await load())  # type: ignore[no-any-return]
        protocol = loading.refresh(self.region, self._entry(call, kwargs), self._policy)
        if tracing.watchers:
            with tracing.call(self.region.name, self.name, 0):
                return await run_async(protocol, load)  # type: ignore[no-any-return]
        return await run_async(protocol, load)  # type: ignore[no-any-return]

    async def peek(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        value = await in_thread(functools.partial(self._peek, args, kwargs))
        return None if value is MISSING else value

    async def uncached(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._function(*self._prefix, *args, **kwargs)  # type: ignore[no-any-return]

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        await in_thread(functools.partial(self._invalidate, args, kwargs))

    async def invalidate_all(self) -> None:
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
