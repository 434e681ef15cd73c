"""The registry of Beaker's types, and this library's entries in it.

Beaker's `Cache`, `cache_region` and `SessionMiddleware` find the class of a namespace by the name
of its type, in one table for the whole process. This module changes the table as follows:

* Importing the module adds the type ``regions``. Its option ``region`` is a region, or the name of
  a region that a manager has configured. Other caches do not change. The options of sessions are
  checked when their middleware is made.
* `CacheManager` passes the regions on this library's own stores (`BUILTIN_TYPES`) to Beaker's API
  under that name. It passes all other types on unchanged.
* `patch_beaker` covers caches and sessions that stock Beaker makes from its own configuration.
  Only this call changes the meaning of those types, for the whole process.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import beaker.cache
from beaker.exceptions import InvalidCacheBackendError
from beaker.middleware import SessionMiddleware
from beaker.session import Session

from beaker_regions.beaker_api.namespace import RegionNamespace
from beaker_regions.config.options import (
    ATOMIC_TYPES_TEXT,
    BUILTIN_TYPES,
    COMMON,
    Config,
    RegionOptions,
    check,
    checked,
)
from beaker_regions.engine.region import Region
from beaker_regions.errors import ConfigurationError
from beaker_regions.stores.files import sweeping
from beaker_regions.stores.files.store import FileStore
from beaker_regions.stores.opening import open_store

TYPE = "regions"
ANONYMOUS = "beaker.cache"
"""Name of the regions of caches and sessions that have options but no configured region. A
configured region cannot have this name."""

_SESSION_OPTIONS = ("auto", "digest_filenames", "session_class", "webtest_varname")
"""Options that Beaker's sessions pass to every namespace, and that have no meaning for it. Every
session passes digest_filenames, and no cache does."""
_CACHE_OPTIONS = ("data_dir", "lock_dir", "key_length", "log_file")
"""Options of every cache of Beaker's that have no meaning for a region configured elsewhere."""


_BEAKER_PREFIXES = ("beaker.", "cache.", "session.", "session_")
"""Beaker's middlewares read their keyword options, and pass them on with these prefixes."""


class LegacyCache(beaker.cache.Cache):  # type: ignore[misc]
    """One of Beaker's caches, in a region.

    As in Beaker, its methods accept another type for one call. ``of_type`` returns the cache of
    that type.
    """

    of_type: Callable[..., beaker.cache.Cache]

    def _legacy_get_value(self, key: bytes, type: str, **passed: Any) -> Any:  # noqa: A002
        call = {k: passed.pop(k) for k in ("createfunc", "expiretime", "starttime") if k in passed}
        return self.of_type(type=type, **passed)._get_value(key, **call)


class AnonymousRegion(NamedTuple):
    """A region that has options and no configured name."""

    region: Region
    options: RegionOptions


_anonymous_regions: dict[str, AnonymousRegion] = {}


def anonymous_region(options: Config) -> AnonymousRegion:
    """Return the region of these options. It is made once. Raises ConfigurationError."""
    identity = repr(sorted(options.items()))
    found = _anonymous_regions.get(identity)
    if found is None:
        checked = check(ANONYMOUS, options)
        region = open_region(checked)
        found = _anonymous_regions.setdefault(identity, AnonymousRegion(region, checked))
    return found


def open_region(options: RegionOptions) -> Region:
    """Return a region with its store. Raises ConfigurationError if a library is missing."""
    try:
        store = open_store(options)
    except (ImportError, InvalidCacheBackendError, RuntimeError) as error:
        # Beaker raises one of these if a library is missing.
        raise ConfigurationError(
            f"region {options.name!r}: type = {options.type!r}: {error}; is its library installed?"
        ) from error
    region = Region(options, store)
    if isinstance(store, FileStore):
        region.stats.tidy = functools.partial(sweeping.sweep_next, store, region.longest_grace)
        if store.size_limit is not None:
            store.size_limit.evicted = functools.partial(region.stats.count, "evictions", "")
    return region


def cache_options(
    region: Region, options: RegionOptions, is_function: Callable[[str], bool]
) -> dict[str, Any]:
    """Return the options with which Beaker's API makes a cache in ``region``."""
    return {
        "type": TYPE,
        "region": region,
        "enabled": options.enabled,
        "expire": _whole_seconds(options.expire),
        "grace": options.grace,
        "is_function": is_function,
    }


def patch_beaker(**defaults: Any) -> None:
    """Let Beaker's types ``file``, ``ext:memcached`` and ``ext:redis`` use this library's stores.

    ``ext:valkey`` and ``ext:rediscluster`` use them, too. This holds for the whole process, for
    caches and sessions that are made afterwards.

    Args:
        **defaults: Options of a region, for caches and sessions that do not set them. Set
            ``secret`` here: the option of that name of a session signs its cookies. For
            memcached, set ``timeout`` here (seconds for a server's answer): the option of that
            name of a session is its lifetime.

    Raises:
        ConfigurationError: There is no such option.

    Example::

        patch_beaker(secret="keep this one secret", timeout=0.05)
        app = SessionMiddleware(app, {"session.type": "file", "session.data_dir": "/var/sessions"})
    """
    unknown = [
        key for key in defaults if not any(key in own for own in (COMMON, *BUILTIN_TYPES.values()))
    ]
    if unknown:
        raise ConfigurationError(f"patch_beaker(): no such option: {', '.join(unknown)}")
    for type_, own in BUILTIN_TYPES.items():
        valid = {k: v for k, v in defaults.items() if k in COMMON or k in own}
        _types()[type_] = functools.partial(_namespace, {**valid, "type": type_})


def _namespace(
    defaults: Config, namespace: str, timeout: float | None = None, **passed: Any
) -> RegionNamespace:
    own = {k: v for k, v in _relevant(passed).items() if v is not None}
    others = set().union(*BUILTIN_TYPES.values()) - BUILTIN_TYPES[defaults["type"]].keys()
    # A cache of the other type that uses this type for one call passes the options of both.
    region, options = anonymous_region(
        {**defaults, **{k: v for k, v in own.items() if k not in others}}
    )
    return RegionNamespace(
        namespace,
        region,
        timeout=_whole_seconds(options.expire) if timeout is None else timeout,
        grace=options.grace,
        is_session="digest_filenames" in passed,
    )


def _relevant(passed: Config) -> Config:
    """Return those of the options passed by Beaker that have a meaning for a namespace."""
    return {
        option: value
        for option, value in passed.items()
        if option not in _SESSION_OPTIONS and not option.startswith(_BEAKER_PREFIXES)
    }


def _configured(
    namespace: str,
    region: Region | str = "",
    timeout: float | None = None,
    grace: float | None = None,
    is_function: Callable[[str], bool] = lambda _: False,
    expire: Any = None,
    enabled: Any = True,
    **others: Any,
) -> RegionNamespace:
    """Return a namespace in a region that a manager has configured.

    If ``region`` is a name, the region's expiry holds for items that are set without one.
    """
    for option in _relevant(others):
        if option not in COMMON:
            raise ConfigurationError(
                f"type {TYPE!r}: no such option: {option!r}; valid: region, expire, grace, timeout"
            )
    if not isinstance(region, str):
        return RegionNamespace(
            namespace, region, timeout=timeout, grace=grace or 0.0, is_function=is_function
        )
    named = _options_of(region)
    others["enabled"] = None if _flag(enabled) else enabled
    for option, value in _relevant(others).items():
        if value is not None and option not in _CACHE_OPTIONS:
            raise ConfigurationError(
                f"type {TYPE!r}: {option} = {value!r}: this is an option of the region; set it "
                f"where region {region!r} is configured"
            )
    if timeout is None:
        timeout = named["expire"] if expire is None else _whole_seconds(_checked("expire", expire))
    return RegionNamespace(
        namespace,
        named["region"],
        timeout=timeout,
        grace=named["grace"] if grace is None else _checked("grace", grace),
        is_session="digest_filenames" in others,
    )


def _checked(option: str, value: Any) -> Any:
    return checked(f"type {TYPE!r}", option, COMMON[option], value)


def _flag(value: Any) -> bool:
    return value is None or bool(_checked("enabled", value))


def _options_of(region: str) -> dict[str, Any]:
    options: dict[str, Any] = beaker.cache.cache_regions.get(region, {})
    if options.get("type") != TYPE:
        raise ConfigurationError(f"there is no region {region!r} of type {ATOMIC_TYPES_TEXT}")
    return options


def _whole_seconds(seconds: float) -> int | None:
    """Return a time in Beaker's form: whole seconds, or None for no expiry."""
    return None if math.isinf(seconds) else math.ceil(seconds)


def _types() -> dict[str, Any]:
    # Beaker has no function that adds a type, and an entry point needs an installed package.
    types: dict[str, Any] = beaker.cache.clsmap._clsmap
    return types


def _check_at_start(make: Callable[..., None]) -> Callable[..., None]:
    """Check a session's options when its middleware is made.

    Beaker itself passes the options to a type only when it makes a session, at a request.
    """
    own = inspect.signature(Session.__init__).parameters.keys() - {"data_dir", "timeout"}

    @functools.wraps(make)
    def made(middleware: Any, *args: Any, **kwargs: Any) -> None:
        make(middleware, *args, **kwargs)
        options = {k: v for k, v in middleware.options.items() if k not in own and v is not None}
        type_ = _types().get(middleware.options.get("type"))
        if type_ is not None and getattr(type_, "func", type_) in (_configured, _namespace):
            type_("", **options)

    return made


_types()[TYPE] = _configured
SessionMiddleware.__init__ = _check_at_start(SessionMiddleware.__init__)
