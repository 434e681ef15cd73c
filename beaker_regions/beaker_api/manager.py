"""The methods of Beaker's own `CacheManager`, on this library's stores."""

from __future__ import annotations

import functools
from typing import Any

import beaker.cache

from beaker_regions.api.decorating import Functions, RegionDecorator, decorator
from beaker_regions.api.function_options import FunctionOptions
from beaker_regions.beaker_api.registry import LegacyCache, anonymous_region, cache_options
from beaker_regions.config.options import BUILTIN_TYPES, COMMON, Config, shared_by
from beaker_regions.errors import ConfigurationError


class BeakerManager(beaker.cache.CacheManager):  # type: ignore[misc]
    """Caches and decorators that belong to no configured region, and Beaker's way to invalidate."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.functions: Functions = {}
        """Every decorated function, by name."""

    def cache(self, *names: str, **options: Any) -> RegionDecorator:
        """As `CacheManager.region`, for a function that belongs to no configured region.

        Args:
            *names: Labels that distinguish functions of the same module and name.
            **options: Options of a region. Those that are not given are the ones configured for
                all regions.

        Returns:
            A decorator, as that of `CacheManager.region`.

        Raises:
            ConfigurationError: An option cannot be used.

        Example::

            @cache.cache("squares", type="file", data_dir="/var/cache/site", expire=60)
            def square(number: int) -> int: ...
        """
        where, own = anonymous_region(shared_by(self.kwargs, options))
        return decorator(where, own, FunctionOptions(names), self.functions)

    def get_cache(self, name: str, **kwargs: Any) -> beaker.cache.Cache:
        """Return one of Beaker's caches.

        The types ``file``, ``ext:memcached``, ``ext:redis``, ``ext:valkey`` and
        ``ext:rediscluster`` use this library's stores.

        Args:
            name: The name of the cache.
            **kwargs: Its options. Those that are not given are the ones configured for all.

        Returns:
            A ``beaker.cache.Cache``.

        Raises:
            ConfigurationError: An option cannot be used.

        Example::

            prices = cache.get_cache("prices", type="file", data_dir="/var/cache/site")
            prices.get_value("milk", createfunc=fetch_price)
        """
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
        """Return a cache of another type, with those of the former options that every type has."""
        common = {key: value for key, value in former.items() if key in COMMON}
        return self.get_cache(name, **{**common, **options})

    def invalidate(self, function: Any, *args: Any, **kwargs: Any) -> None:
        """Invalidate one call of a function decorated with `cache`, in Beaker's way.

        ``function.invalidate(...)`` says the same more plainly.

        Args:
            function: The decorated function, or its name.
            *args: The labels given to the decorator, then the arguments of the call.
            **kwargs: Not used. Beaker passes the options of the cache here.

        Raises:
            ConfigurationError: This manager has not decorated the function.

        Example::

            cache.invalidate(square, "squares", 3)
        """
        self.region_invalidate(function, None, *args)

    def region_invalidate(self, namespace: Any, region: str | None, *args: Any) -> None:
        """Invalidate one call of a decorated function, in Beaker's way.

        ``function.invalidate(...)`` says the same more plainly.

        Args:
            namespace: The decorated function, or its name.
            region: The name of its region. None: that of the function.
            *args: The labels given to the decorator, then the arguments of the call.

        Raises:
            ConfigurationError: This manager has not decorated the function, or the region or the
                labels are not the function's.

        Example::

            cache.region_invalidate(tasks_of, "functions", 1)
        """
        function = self.functions.get(getattr(namespace, "name", namespace))
        if function is None and hasattr(namespace, "_arg_namespace"):
            # Decorated with Beaker's own cache_region().
            super().region_invalidate(namespace, region, *args)
            return
        if function is None or (region is not None and region != function.region.name):
            raise ConfigurationError(
                f"{namespace!r} is not a function that is cached in region {region!r}"
            )
        names, call = args[: len(function.names)], args[len(function.names) :]
        if names != function.names:
            raise ConfigurationError(
                f"{function.name}: the labels of its decorator are {function.names}, not {names}"
            )
        function.region.invalidate(function.entry(*call).own_scope)
