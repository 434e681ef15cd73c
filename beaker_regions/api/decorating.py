"""The decorator that makes a function a cached one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from inspect import iscoroutinefunction, ismethod
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, Protocol, TypeVar, overload

from beaker_regions.api.async_function import AsyncCachedFunction
from beaker_regions.api.function import CachedFunction
from beaker_regions.api.function_options import FunctionOptions
from beaker_regions.config.options import RegionOptions
from beaker_regions.engine.region import Region
from beaker_regions.entries.content import CachedFile, Resumable
from beaker_regions.entries.freshness import Policy

Functions = dict[str, CachedFunction[..., Any] | AsyncCachedFunction[..., Any]]

P = ParamSpec("P")
R = TypeVar("R")


class RegionDecorator(Protocol):
    """The decorator that `CacheManager.region` returns. It makes a function a cached one."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]]
    ) -> AsyncCachedFunction[P, R]: ...
    @overload
    def __call__(
        self, function: Callable[P, Path | BinaryIO | Iterator[bytes] | Resumable | CachedFile]
    ) -> CachedFunction[P, CachedFile]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> CachedFunction[P, R]: ...


def decorator(
    where: Region, own: RegionOptions, options: FunctionOptions, functions: Functions
) -> RegionDecorator:
    """Return a decorator for the region ``where``, with its options. It adds what it makes to
    ``functions``, by name."""
    default = Policy(own.expire, own.grace, own.early)

    def decorate(function: Callable[..., Any]) -> Any:
        if ismethod(function):
            return decorate(function.__func__)._bound_to(function.__self__)
        plain = getattr(function, "__func__", function)
        form = AsyncCachedFunction if iscoroutinefunction(plain) else CachedFunction
        cached: Any = form(where, function, options, default)
        functions[cached.name] = cached
        return cached

    return decorate
