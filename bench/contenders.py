"""Who is measured: one class a way to cache a function, all with the same two methods.

Every contender is set up as its documentation says, with its own defaults, on one memcached or
one folder. ``timeout`` (seconds) is for those that let it be set: None keeps their default.
"""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Any, NamedTuple

import beaker.cache
import beaker.util
import dogpile.cache
import flask
import flask_caching
import memcache
from django.conf import settings
from django.core.cache import CacheHandler

import beaker_regions
from beaker_regions.engine.reads import current_reads, set_query_noter
from tests.servers import Memcached, Redis

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Load = Callable[[int], Any]

EXPIRE = 60 * 60
"""Seconds; no entry expires during a measurement."""


class Place(NamedTuple):
    """Where contenders keep entries and locks."""

    address: str
    """Of the memcached, or of the Redis, ``host:port``."""
    folder: Path


class Contender:
    """A function of one whole number, cached."""

    server: type[Memcached | Redis] = Memcached
    """What runs at the address of its place."""

    call: Callable[[int], Any]
    """Return the value of a key through the cache."""
    invalidate: Callable[[int], object]
    """Say that the value of a key has changed."""

    def __init__(self, place: Place, load: Load, timeout: float | None = None) -> None:
        raise NotImplementedError


class Ours(Contender):
    def __init__(self, place: Place, load: Load, timeout: float | None = None) -> None:
        cache = beaker_regions.CacheManager(
            **beaker_regions.parse_cache_config_options(
                {
                    "cache.regions": "ours",
                    "cache.ours.expire": EXPIRE,
                    "cache.ours.secret": "of the measurements",
                    **self.options(place, timeout),
                }
            )
        )
        self.decorate(cache, load)

    def decorate(self, cache: beaker_regions.CacheManager, load: Load) -> None:
        @cache.region("ours")
        def value(key: int) -> Any:
            return load(key)

        self.call, self.invalidate = value, value.invalidate

    def options(self, place: Place, timeout: float | None) -> dict[str, Any]:
        return {
            "cache.ours.type": "ext:memcached",
            "cache.ours.url": place.address,
            "cache.ours.timeout": timeout,
            "cache.ours.data_dir": place.folder / "ours",
        }


class OursRedis(Ours):
    server = Redis

    def options(self, place: Place, timeout: float | None) -> dict[str, Any]:
        return {
            "cache.ours.type": "ext:redis",
            "cache.ours.url": f"redis://{place.address}",
            "cache.ours.timeout": timeout,
            "cache.ours.data_dir": place.folder / "ours",
        }


class OursByQueries(Ours):
    """A function that depends on what its queries read; each key is a table here."""

    def decorate(self, cache: beaker_regions.CacheManager, load: Load) -> None:
        set_query_noter(lambda: None)

        @cache.region("ours", depends_on="queries")
        def value(key: int) -> Any:
            noted = current_reads()
            assert noted is not None
            noted.note_tags([f"table {key}"])
            return load(key)

        self.call = value
        self.invalidate = lambda key: cache.invalidate_tags(f"table {key}")


class OursFiles(Ours):
    def options(self, place: Place, timeout: float | None) -> dict[str, Any]:
        return {"cache.ours.type": "file", "cache.ours.data_dir": place.folder / "ours"}


class OursCluster(Ours):
    """Files whose generations and leases are on memcached, for several hosts."""

    def options(self, place: Place, timeout: float | None) -> dict[str, Any]:
        return {
            "cache.regions": "ours, servers",
            "cache.ours.type": "file",
            "cache.ours.data_dir": place.folder / "ours",
            "cache.ours.cluster": "servers",
            "cache.servers.type": "ext:memcached",
            "cache.servers.url": place.address,
            "cache.servers.secret": "of the measurements",
            "cache.servers.timeout": timeout,
        }


class Beaker(Contender):
    """Stock Beaker; its locks are files. It has no way to set the client's time-out."""

    region = "stock"

    def __init__(self, place: Place, load: Load, timeout: float | None = None) -> None:
        name = f"cache.{self.region}"
        manager: Any = beaker.cache.CacheManager(
            **beaker.util.parse_cache_config_options(
                {
                    "cache.regions": self.region,
                    f"{name}.expire": EXPIRE,
                    f"{name}.lock_dir": str(place.folder / "locks"),
                    **{f"{name}.{key}": value for key, value in self.options(place).items()},
                }
            )
        )

        def value(key: int) -> Any:
            return load(key)

        cached = manager.region(self.region)(value)
        self.manager, self.call = manager, cached
        self.invalidate = lambda key: manager.region_invalidate(cached, self.region, key)

    def options(self, place: Place) -> dict[str, str]:
        return {"type": "ext:memcached", "url": place.address}


class BeakerFiles(Beaker):
    region = "stock_files"

    def options(self, place: Place) -> dict[str, str]:
        return {"type": "file", "data_dir": str(place.folder / "stock")}


class Dogpile(Contender):
    """dogpile.cache on python-memcached; one load a process."""

    backend = "memcached"
    options: Mapping[str, Any] = {}

    def __init__(self, place: Place, load: Load, timeout: float | None = None) -> None:
        arguments: dict[str, Any] = {"url": place.address, **self.options}
        if timeout is not None and self.backend != "pylibmc":
            arguments["socket_timeout"] = timeout
        region = dogpile.cache.make_region().configure(
            f"dogpile.cache.{self.backend}", expiration_time=EXPIRE, arguments=arguments
        )
        self.use(region, load)

    def use(self, region: Any, load: Load) -> None:
        def value(key: int) -> Any:
            return load(key)

        cached: Any = region.cache_on_arguments()(value)
        self.call, self.invalidate = cached, cached.invalidate


class DogpileLock(Dogpile):
    """As `Dogpile`, with its lock in memcached: one load in the cluster."""

    options: Mapping[str, Any] = {"distributed_lock": True, "lock_timeout": 30}


class DogpilePylibmc(Dogpile):
    """On the fastest client, without the decorator, whose keys cost more than the get."""

    backend = "pylibmc"
    options: Mapping[str, Any] = {"behaviors": {"tcp_nodelay": True}}

    def use(self, region: Any, load: Load) -> None:
        self.call = lambda key: region.get_or_create(f"{self.backend}{key}", lambda: load(key))
        self.invalidate = lambda key: region.delete(f"{self.backend}{key}")


class DogpilePymemcache(DogpilePylibmc):
    backend = "pymemcache"
    options: Mapping[str, Any] = {}


class FlaskCaching(Contender):
    """Flask-Caching's memoize on python-memcached."""

    def __init__(self, place: Place, load: Load, timeout: float | None = None) -> None:
        options = {} if timeout is None else {"socket_timeout": timeout}
        cache = flask_caching.Cache(
            flask.Flask("bench"),
            config={
                "CACHE_TYPE": "MemcachedCache",
                "CACHE_MEMCACHED_SERVERS": memcache.Client([place.address], **options),
                "CACHE_DEFAULT_TIMEOUT": EXPIRE,
            },
        )

        def value(key: int) -> Any:
            return load(key)

        cached: Any = cache.memoize()(value)
        self.call = cached
        self.invalidate = lambda key: cache.delete_memoized(cached, key)


class Django(Contender):
    """Django's own cache: get_or_set on its recommended client, pymemcache."""

    backend = "PyMemcacheCache"
    options: Mapping[str, Any] = {}

    def __init__(self, place: Place, load: Load, timeout: float | None = None) -> None:
        options = dict(self.options)
        if timeout is not None and self.backend == "PyMemcacheCache":
            options |= {"timeout": timeout, "connect_timeout": timeout}
        default = {
            "BACKEND": f"django.core.cache.backends.memcached.{self.backend}",
            "LOCATION": place.address,
            "TIMEOUT": EXPIRE,
            "OPTIONS": options,
        }
        # As django.core.cache.caches: one client a thread.
        caches = CacheHandler({"default": default})
        self.call = lambda key: caches["default"].get_or_set(str(key), lambda: load(key))
        self.invalidate = lambda key: caches["default"].delete(str(key))


class DjangoPylibmc(Django):
    backend = "PyLibMCCache"
    options: Mapping[str, Any] = {"behaviors": {"tcp_nodelay": True}}


class DjangoRedis(Django):
    """Django's own cache on Redis."""

    server = Redis
    backend = "django.core.cache.backends.redis.RedisCache"

    def __init__(self, place: Place, load: Load, timeout: float | None = None) -> None:
        limits: dict[str, Any] = {}
        if timeout is not None:
            limits = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        default = {
            "BACKEND": self.backend,
            "LOCATION": f"redis://{place.address}",
            "TIMEOUT": EXPIRE,
            "OPTIONS": self.limited(limits),
        }
        caches = CacheHandler({"default": default})
        self.call = lambda key: caches["default"].get_or_set(str(key), lambda: load(key))
        self.invalidate = lambda key: caches["default"].delete(str(key))

    def limited(self, limits: dict[str, Any]) -> dict[str, Any]:
        return limits


class DjangoRedisPackage(DjangoRedis):
    """The package django-redis."""

    backend = "django_redis.cache.RedisCache"

    def __init__(self, place: Place, load: Load, timeout: float | None = None) -> None:
        if not settings.configured:
            settings.configure()
        super().__init__(place, load, timeout)

    def limited(self, limits: dict[str, Any]) -> dict[str, Any]:
        upper = {name.upper(): seconds for name, seconds in limits.items()}
        return {"CLIENT_CLASS": "django_redis.client.DefaultClient", **upper}


OURS = "regions"
CONTENDERS: dict[str, type[Contender]] = {
    OURS: Ours,
    f"{OURS}, files": OursFiles,
    "Beaker": Beaker,
    "Beaker, files": BeakerFiles,
    "dogpile.cache": Dogpile,
    "dogpile.cache, lock in memcached": DogpileLock,
    "Flask-Caching": FlaskCaching,
    "Django": Django,
    f"{OURS}, Redis": OursRedis,
    "Django, Redis": DjangoRedis,
    "django-redis": DjangoRedisPackage,
}
ON_SERVERS = [name for name in CONTENDERS if not name.endswith("files")]
ON_MEMCACHED = [name for name in ON_SERVERS if CONTENDERS[name].server is Memcached]
OTHER_CLIENTS: dict[str, type[Contender]] = {
    "dogpile.cache, pylibmc": DogpilePylibmc,
    "dogpile.cache, pymemcache": DogpilePymemcache,
    "Django, pylibmc": DjangoPylibmc,
}
"""The same on other clients of memcached, where only the speed of a hit is compared."""

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])

PATIENCE = 60
"""Seconds without a word from a process after which the measurement gives up."""
