"""The cache manager of an application: Beaker's `CacheManager` on this library's engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import fields
from datetime import timedelta
from typing import Any, NamedTuple, Never

import beaker.cache

from beaker_regions.api.counters import Counter
from beaker_regions.api.decorating import RegionDecorator, decorator
from beaker_regions.api.function_options import FunctionOptions
from beaker_regions.api.values import Values
from beaker_regions.beaker_api.manager import BeakerManager
from beaker_regions.beaker_api.registry import cache_options, open_region
from beaker_regions.config.options import BUILTIN_TYPES, RegionOptions, check, checked, lifetime
from beaker_regions.engine.bypass import bypassed
from beaker_regions.engine.invalidation import (
    deferred_invalidation,
    invalidate_all,
    invalidate_tags,
)
from beaker_regions.engine.region import Region
from beaker_regions.entries.tags import Tags
from beaker_regions.errors import ConfigurationError, nearest
from beaker_regions.reports.metrics import last_invalidation


class LastInvalidation(NamedTuple):
    """The last invalidation of a tag."""

    at: float
    """Seconds since the epoch."""
    cause: str
    """Its cause: a change of a model's rows, the staff, the application."""


class CacheManager(BeakerManager):
    """The regions of an application, and the functions whose results they store.

    A manager is a mapping of regions by name: ``cache["functions"]`` is a `Region`.

    Example:
        >>> import tempfile
        >>> from beaker_regions import CacheManager, parse_cache_config_options
        >>> cache = CacheManager(
        ...     **parse_cache_config_options(
        ...         {
        ...             "cache.regions": "functions",
        ...             "cache.functions.type": "file",
        ...             "cache.functions.data_dir": tempfile.mkdtemp(),
        ...             "cache.functions.secret": "keep this one secret",
        ...             "cache.functions.expire": 3600,  # seconds
        ...         }
        ...     )
        ... )
        >>> @cache.region("functions", tags=["list:{list_id}"])
        ... def titles_of(list_id: int) -> list[str]:
        ...     print("loading", list_id)
        ...     return ["Buy milk"]
        >>> titles_of(1), titles_of(1)
        loading 1
        (['Buy milk'], ['Buy milk'])
        >>> cache.invalidate_tags("list:1")
        >>> titles_of(1)
        loading 1
        ['Buy milk']
    """

    def __init__(self, **kwargs: Any) -> None:
        """Open the configured regions.

        Args:
            **kwargs: The result of `parse_cache_config_options`.

        Raises:
            ConfigurationError: An option cannot be used. The message names region and option.
        """
        for name in kwargs:
            if name.startswith("cache."):
                raise ConfigurationError(
                    f"CacheManager is given {name!r}: write "
                    f"CacheManager(**parse_cache_config_options(options))"
                )
        super().__init__(**kwargs)
        configured = kwargs.get("cache_regions", {})
        options = [check(name, given) for name, given in configured.items()]
        self.options: dict[str, RegionOptions] = {each.name: each for each in options}
        self._regions = {each.name: open_region(each) for each in options}
        for region in self._regions.values():
            region.siblings = self._regions
        # Beaker's own API, such as its cache_region(), then also uses this library's stores.
        own = {
            each.name: cache_options(self._regions[each.name], each, self.functions.__contains__)
            for each in options
            if each.type in BUILTIN_TYPES
        }
        self.regions: dict[str, Any] = {**configured, **own}
        beaker.cache.cache_regions.update(own)

    def __repr__(self) -> str:
        regions = ", ".join(f"{each.name} ({each.type})" for each in self.options.values())
        return f"<{type(self).__name__}: {regions or 'no region'}>"

    def __getitem__(self, region: str) -> Region:
        """Return a region by name.

        Args:
            region: The name, as in ``cache.regions``.

        Returns:
            The region.

        Raises:
            ConfigurationError: There is no such region.
        """
        try:
            return self._regions[region]
        except KeyError:
            mend = "no region is configured: name them in the option cache.regions"
            if self._regions:
                mend = nearest(region, self._regions)
            raise ConfigurationError(f"there is no region {region!r}; {mend}") from None

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
        depends_on: str = "tags",
        shared: bool = False,
        **unknown: Never,
    ) -> RegionDecorator:
        """Return a decorator: the results of the function are stored in ``region``.

        Arguments are compared by value and type: ``f(1)`` and ``f(True)`` are two entries.
        The function may be a coroutine function, a method, or a class or static method.

        Args:
            region: The name of the region.
            *names: Labels that distinguish functions of the same module and name.
            tags: Names for `invalidate_tags`: templates over the arguments, such as
                ``"list:{list_id}"``, or a function of the arguments that returns a list of names.
            expire: Seconds (or a timedelta) for which a value is served. None: the region's.
            grace: Seconds (or a timedelta) after ``expire`` for which the stale value is served
                while one caller loads, or while loads fail. None: the region's.
            early: How eagerly a value is loaded again before it expires, from 0 (never) to 10;
                1 is best for most. None: the region's.
            key: A function of the arguments. Its result is the key, instead of the arguments.
            ignore: Names of parameters that are not part of the key.
            store_if: A function of the loaded value: whether to store it. None: always.
            version: Change it when the meaning of a value changes. Values of another version are
                not used; an invalidation reaches the values of all versions.
            warm: A function without arguments. It returns the calls that ``manage.py regions
                warm`` loads, in the form that `CachedFunction.many` takes.
            depends_on: "tags": a value is stale once one of its tags is invalidated. "queries":
                also once a table that its queries read is written; the models of these tables
                declare their tags (`beaker_regions.django.row_tags`), or the value is not stored.
                "expiry": a value may be older than the rows that it was made of, until it expires;
                ``manage.py regions dependencies`` then asks for no tags.
            shared: True: no caller changes a value, so several calls in one process may return the
                same object. Values that nobody can change, such as numbers, texts and tuples of
                these, are shared without it; of all others each call returns a new copy.
            **unknown: No other option exists; one is an error that names the nearest.

        Returns:
            A decorator that makes a `CachedFunction`, or of a coroutine function an
            `AsyncCachedFunction`.

        Raises:
            ConfigurationError: The region does not exist, or an option cannot be used.

        Example::

            @cache.region("functions", "v2", tags=["list:{list_id}"], expire=60)
            def tasks_of(list_id: int) -> list[str]: ...
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
            names,
            tags,
            expire,
            grace,
            early,
            key,
            tuple(ignore),
            store_if,
            version,
            warm,
            depends_on,
            shared,
        )
        return decorator(self[region], self.options[region], options, self.functions)

    def counter(self, region: str, name: str, *key: Any, expire: float | None = None) -> Counter:
        """Return a counter.

        Args:
            region: The name of the region that stores it; of type ``file``, or on memcached, Redis
                or Valkey.
            name: The name of the counter.
            *key: What is counted, such as a user's id. Each key is a counter of its own.
            expire: Seconds after its first `Counter.add` at which the counter returns to 0.
                None: never.

        Returns:
            The counter. It is made without a request to the store.

        Raises:
            ConfigurationError: The region does not exist, cannot count, or ``expire`` is no time.
            UnkeyableArgumentError: A part of ``key`` has no stable key.

        Example::

            failures = cache.counter("functions", "sign-in", address, expire=15 * 60)
        """
        return Counter(
            self[region], name, key, checked(f"counter {name!r}", "expire", lifetime, expire)
        )

    def values(self, region: str, name: str, *, expire: float | None = None) -> Values[Any, Any]:
        """Return a collection of values that the application sets itself.

        Args:
            region: The name of the region that stores them; of type ``file``, or on memcached,
                Redis or Valkey.
            name: The name of the collection.
            expire: Seconds for which a value is stored. None: the region's ``expire``.

        Returns:
            The values. They are opened without a request to the store.

        Raises:
            ConfigurationError: The region does not exist, cannot change a value in one step, or
                ``expire`` is no time.

        Example::

            carts = cache.values("functions", "carts", expire=60 * 60)
            carts.update(user.pk, lambda cart: (*cart, "pears"), default=())
        """
        default = self.options[self[region].name].expire
        own = default if expire is None else checked(f"values {name!r}", "expire", lifetime, expire)
        return Values(self[region], name, own)

    def invalidate_tags(self, *tags: str) -> None:
        """Invalidate every entry that has one of the tags, in all regions of this manager.

        No read that starts afterwards returns a value from before, in any process on any host.
        Inside a database transaction this happens at the commit; until then the transaction
        itself does not use those entries.

        Args:
            *tags: Tags as the templates make them, such as ``"list:1"``.

        Example::

            cache.invalidate_tags("list:1", "user:7")
        """
        invalidate_tags(self._regions.values(), tags)

    def last_invalidation(self, tag: str) -> LastInvalidation | None:
        """Return the last invalidation of a tag that a process of this host made.

        The latest few thousand invalidations of a host are known, if regions have a ``data_dir``.
        An invalidation of a whole region counts, too.

        Args:
            tag: A tag, such as ``"list:1"``.

        Returns:
            Its time and its cause; None if none is known.

        Example::

            cache.last_invalidation("list:1")
        """
        folders = {region.metrics for region in self._regions.values()} - {None}
        found = [last_invalidation(folder, tag) for folder in folders if folder is not None]
        last = max(filter(None, found), key=lambda event: event.at, default=None)
        return None if last is None else LastInvalidation(last.at, last.what)

    def invalidate_region(self, region: str) -> None:
        """Invalidate every entry of one region. The time does not depend on their number.

        Args:
            region: The name of the region.

        Raises:
            ConfigurationError: There is no such region.

        Example::

            cache.invalidate_region("functions")
        """
        self[region].invalidate_everything()

    def clear(self) -> None:
        """Invalidate every entry of every region of this manager.

        Files stay on disk until ``manage.py regions clear`` removes them, or until their room is
        needed. No read uses them.

        Example::

            cache.clear()
        """
        invalidate_all(self._regions.values())

    def bypassed(self) -> AbstractContextManager[None]:
        """Return a block in which functions, pages and fragments neither read nor store anything.

        This holds for all regions of all managers, for this thread or task alone. Inside the
        block `CachedFunction.refresh` still stores, and invalidations take effect. Values,
        counters and sessions work as usual.

        Returns:
            A context manager.

        Example::

            with cache.bypassed():
                tasks_of(1)  # runs the function
        """
        return bypassed()

    def deferred_invalidation(self) -> AbstractContextManager[None]:
        """Return a block for bulk changes: its invalidations are collected and applied together.

        They are applied at the end of the block, or at the commit if that comes later. Until then
        the block itself does not use an entry that it has invalidated, and other threads may
        still read the former value.

        Returns:
            A context manager.

        Example::

            with cache.deferred_invalidation():
                for task in tasks:
                    cache.invalidate_tags(f"list:{task.list_id}")
        """
        return deferred_invalidation()


def _meant_by(option: str) -> str:
    if option in ("timeout", "ttl", "expires", "expiretime", "expiry", "max_age"):
        return "use expire= (seconds) to say how long a value is served"
    return nearest(
        option, [field.name for field in fields(FunctionOptions) if field.name != "names"]
    )
