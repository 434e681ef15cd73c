"""The regions of an application: Beaker's manager, with this library's engine."""

from __future__ import annotations

import functools
from dataclasses import fields
from datetime import timedelta
from inspect import iscoroutinefunction, ismethod
from typing import TYPE_CHECKING, Any, BinaryIO, Never, ParamSpec, Protocol, TypeVar, overload

import beaker.cache

from beaker_regions.api.async_function import AsyncCachedFunction
from beaker_regions.api.counters import Counter
from beaker_regions.api.function import CachedFunction
from beaker_regions.api.function_options import FunctionOptions
from beaker_regions.api.values import Values
from beaker_regions.beaker_api.registry import (
    LegacyCache,
    anonymous_region,
    cache_options,
    open_region,
)
from beaker_regions.config.options import (
    BUILTIN_TYPES,
    COMMON,
    RegionOptions,
    check,
    lifetime,
    shared_by,
)
from beaker_regions.engine.bypass import bypassed
from beaker_regions.engine.invalidation import (
    deferred_invalidation,
    invalidate_all,
    invalidate_tags,
)
from beaker_regions.engine.region import Region
from beaker_regions.entries.freshness import Policy
from beaker_regions.entries.tags import Tags
from beaker_regions.errors import ConfigurationError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from beaker_regions.config.options import Config
    from beaker_regions.entries.content import CachedFile, Resumable

P = ParamSpec("P")
R = TypeVar("R")


class RegionDecorator(Protocol):
    """What `CacheManager.region` returns: turns a function into its cached form."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]]
    ) -> AsyncCachedFunction[P, R]: ...
    @overload
    def __call__(
        self, function: Callable[P, Path | BinaryIO | Iterator[bytes] | Resumable]
    ) -> CachedFunction[P, CachedFile]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> CachedFunction[P, R]: ...


class CacheManager(beaker.cache.CacheManager):  # type: ignore[misc]
    """Regions by name, and the functions that are kept in them.

    Takes what `parse_cache_config_options` returns. Raises ConfigurationError.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        configured = kwargs.get("cache_regions", {})
        options = [check(name, given) for name, given in configured.items()]
        self.options: dict[str, RegionOptions] = {each.name: each for each in options}
        self._regions = {each.name: open_region(each) for each in options}
        self.functions: dict[str, CachedFunction[..., Any] | AsyncCachedFunction[..., Any]] = {}
        """Every decorated function, by name."""
        # What Beaker's own front, such as its cache_region(), makes of our regions is ours too.
        own = {
            each.name: cache_options(self._regions[each.name], each, self.functions.__contains__)
            for each in options
            if each.type in BUILTIN_TYPES
        }
        self.regions: dict[str, Any] = {**configured, **own}
        beaker.cache.cache_regions.update(own)

    def __getitem__(self, region: str) -> Region:
        """Return a region by name. Raises ConfigurationError."""
        try:
            return self._regions[region]
        except KeyError:
            raise ConfigurationError(
                f"there is no region {region!r}; {nearest(region, self._regions)}"
            ) from None

    def region(
        self,
        region: str,
        *names: str,
        tags: Tags = (),
        expire: float | timedelta | None = None,
        grace: float | timedelta | None = None,
        early: float | None = None,
        key: Callable[..., Any] | None = None,
        ignore: Iterable[str] = (),
        store_if: Callable[[Any], bool] | None = None,
        version: int | str = 0,
        warm: Callable[[], Iterable[Any]] | None = None,
        **unknown: Never,
    ) -> RegionDecorator:
        """Decorate a function so that its results are kept in ``region``.

        Arguments are told apart by value and type (`beaker_regions.entries.keys`). The options are
        those of `FunctionOptions`; expire and grace are seconds, or timedeltas.
        """
        if not isinstance(region, str):
            raise ConfigurationError(
                f"@cache.region is given {region!r}: write the name of a region, as in "
                f'@cache.region("functions")'
            )
        for option in unknown:
            raise ConfigurationError(
                f"@cache.region({region!r}, {option}=...): there is no option {option!r}; "
                f"{_meant_by(option)}"
            )
        options = FunctionOptions(
            names, tags, expire, grace, early, key, tuple(ignore), store_if, version, warm
        )
        return self._decorator(self[region], self.options[region], options)

    def counter(self, region: str, name: str, *key: Any, expire: float | None = None) -> Counter:
        """Return the counter ``name`` for ``key`` (arguments as of a function) in ``region``.

        ``expire``: seconds after which it begins anew; None: never.
        """
        return Counter(self[region], name, key, _lifetime(f"counter {name!r}", expire))

    def values(self, region: str, name: str, *, expire: float | None = None) -> Values[Any, Any]:
        """Return the values ``name`` in ``region``, which the application sets itself.

        ``expire``: seconds for which one lives; None: as the region says.
        """
        default = self.options[self[region].name].expire
        own = default if expire is None else _lifetime(f"values {name!r}", expire)
        return Values(self[region], name, own)

    def cache(self, *names: str, **options: Any) -> RegionDecorator:
        """As `region`, for a function of no configured region: ``options`` are those of a region,
        on top of what is configured for all."""
        where, own = anonymous_region(shared_by(self.kwargs, options))
        return self._decorator(where, own, FunctionOptions(names))

    def _decorator(
        self, where: Region, own: RegionOptions, options: FunctionOptions
    ) -> RegionDecorator:
        default = Policy(own.expire, own.grace, own.early)

        def decorate(function: Callable[..., Any]) -> Any:
            if ismethod(function):
                return decorate(function.__func__)._bound_to(function.__self__)
            plain = getattr(function, "__func__", function)
            form = AsyncCachedFunction if iscoroutinefunction(plain) else CachedFunction
            cached: Any = form(where, function, options, default)
            self.functions[cached.name] = cached
            return cached

        return decorate

    def get_cache(self, name: str, **kwargs: Any) -> beaker.cache.Cache:
        """Return one of Beaker's caches, by its name; ``kwargs`` are its options, on top of what
        is configured for all. The types ext:memcached and file are this library's."""
        if kwargs.get("type", self.kwargs.get("type")) not in BUILTIN_TYPES:
            return super().get_cache(name, **kwargs)
        given = dict(kwargs)
        beakers = {key: kwargs.pop(key) for key in ("starttime", "expiretime") if key in kwargs}
        region, options = anonymous_region(shared_by(self.kwargs, kwargs))
        made = cache_options(region, options, self.functions.__contains__)
        cache = LegacyCache._get_cache(name, made | beakers)
        cache.of_type = functools.partial(self._cache_of_type, name, given)
        return cache

    def _cache_of_type(self, name: str, former: Config, /, **options: Any) -> beaker.cache.Cache:
        """Return a cache of another type than one with the options ``former``, of which those
        serve that any type has."""
        common = {key: value for key, value in former.items() if key in COMMON}
        return self.get_cache(name, **{**common, **options})

    def invalidate(self, function: Any, *args: Any, **kwargs: Any) -> None:
        """Invalidate one call of a function that `cache` has decorated; ``args`` as for
        `region_invalidate`. ``kwargs``, which Beaker has for the options, are not needed."""
        self.region_invalidate(function, None, *args)

    def invalidate_tags(self, *tags: str) -> None:
        """Let no later read see an entry, of any region, that has one of ``tags`` as it was."""
        invalidate_tags(self._regions.values(), tags)

    def invalidate_region(self, region: str) -> None:
        """Let no later read see any entry of ``region`` as it was."""
        self[region].invalidate_everything()

    def clear(self) -> None:
        """Let no later read see any entry, of any region, as it was. What lies on disk is removed
        by ``manage.py regions clear``, or when room is needed."""
        invalidate_all(self._regions.values())

    def bypassed(self) -> AbstractContextManager[None]:
        """Return a block in which functions run, pages and fragments are made, as if nothing were
        stored, and nothing is; of every region and manager, for this thread or task alone.
        `refresh` still stores, invalidations have their effect, and values, counters and sessions
        are as always."""
        return bypassed()

    def deferred_invalidation(self) -> AbstractContextManager[None]:
        """Return a block for bulk changes: what is invalidated in it is collected, and delivered
        once at its end, or at the commit if that comes later. Until then the block itself uses
        nothing of what it has invalidated, and others may see it as it was."""
        return deferred_invalidation()

    def region_invalidate(self, namespace: Any, region: str | None, *args: Any) -> None:
        """Invalidate one call of a decorated function, as Beaker's API has it: ``args`` are the
        names given to the decorator, then the call's arguments.

        Raises ConfigurationError for what was not decorated by this manager.
        """
        function = self.functions.get(getattr(namespace, "name", namespace))
        if function is None and hasattr(namespace, "_arg_namespace"):
            # Decorated with Beaker's own cache_region().
            super().region_invalidate(namespace, region, *args)
            return
        if function is None or (region is not None and region != function.region.name):
            raise ConfigurationError(f"{namespace!r} is no function cached in region {region!r}")
        names, call = args[: len(function.names)], args[len(function.names) :]
        if names != function.names:
            raise ConfigurationError(
                f"{function.name}: its names are {function.names}, not {names}"
            )
        function.region.invalidate(function.entry(*call).own_scope)


def _meant_by(option: str) -> str:
    if option in ("timeout", "ttl", "expires", "expiretime", "expiry", "max_age"):
        return "for how long values are served is said with expire= (seconds)"
    return nearest(
        option, [field.name for field in fields(FunctionOptions) if field.name != "names"]
    )


def _lifetime(what: str, expire: float | timedelta | None) -> float:
    try:
        return lifetime(expire)
    except ValueError as error:
        raise ConfigurationError(f"{what}: expire = {expire!r}: {error}") from error
