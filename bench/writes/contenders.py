"""The libraries that cache the questions, each with its strongest configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

EXPIRE = 60 * 60
"""Seconds; no entry expires during a measurement."""


class Servers(NamedTuple):
    """Where contenders keep entries, and the database's folder."""

    memcached: str
    redis: str
    folder: Path


class Contender:
    """A library, in a process in which no other contender runs."""

    apps: tuple[str, ...] = ()

    def __init__(self, servers: Servers) -> None:
        self.servers = servers

    def settings(self) -> dict[str, Any]:
        """Return the library's settings of Django."""
        return {}

    def start(self) -> None:
        """Prepare what needs Django's models."""

    def cached(self, name: str) -> Callable[[int], Any]:
        """Return the cached function of a question."""
        raise NotImplementedError

    def clear(self) -> None:
        """Forget all entries."""
        raise NotImplementedError

    def say(self, model: Any, keys: Sequence[int]) -> None:
        """Say, in the library's own way, that these rows of a model were written by raw SQL."""
        raise NotImplementedError

    def update(self, rows: Any, **values: Any) -> None:
        """Update a query set as the library's documentation says."""
        rows.update(**values)


class Ours(Contender):
    """Models declare the tags of their rows, and functions name tags."""

    apps = ("beaker_regions.django",)
    by_queries = False

    def start(self) -> None:
        from beaker_regions import CacheManager, parse_cache_config_options
        from beaker_regions.django import declare_row_tags, use_manager
        from bench.writes.models import Book, Loan, Shelf, Topic

        tags: dict[Any, tuple[str, ...]] = {
            Shelf: ("owner shelves:{owner_id}",),
            Book: ("shelf books:{shelf_id}", "owner books:{shelf__owner_id}"),
            Topic: (),
            Book.topics.through: ("topic books:{topic_id}", "book topics:{book_id}"),
            Loan: ("reader loans:{reader_id}",),
        }
        for model, templates in tags.items():
            declare_row_tags(model, *(() if self.by_queries else templates))
        options = {
            "type": "ext:memcached",
            "url": self.servers.memcached,
            "data_dir": self.servers.folder / "regions",
            "secret": "of the bench",
            "expire": EXPIRE,
        }
        configured = {f"cache.bench.{name}": value for name, value in options.items()}
        self.cache = CacheManager(
            **parse_cache_config_options({"cache.regions": "bench", **configured})
        )
        use_manager(self.cache)

    def cached(self, name: str) -> Callable[[int], Any]:
        from bench.writes.questions import QUESTIONS, query_of

        options: dict[str, Any] = (
            {"depends_on": "queries"} if self.by_queries else {"tags": QUESTIONS[name].tags}
        )

        @self.cache.region("bench", name, **options)
        def rows(key: int) -> Any:
            return list(query_of(name, key))

        cached: Callable[[int], Any] = rows
        return cached

    def clear(self) -> None:
        self.cache.clear()

    def say(self, model: Any, keys: Sequence[int]) -> None:
        from beaker_regions.django import invalidate_model

        invalidate_model(model, keys)


class OursByQueries(Ours):
    """Functions depend on the tables that they read, and nothing names a tag."""

    by_queries = True


class Cacheops(Contender):
    """Its decorator with ``keep_fresh``, which stores no value that was invalidated during its
    load, in the mode that keeps its invalidation when Redis evicts entries."""

    apps = ("cacheops",)

    def settings(self) -> dict[str, Any]:
        return {
            "CACHEOPS_REDIS": self.servers.redis,
            "CACHEOPS": {"*.*": {"timeout": EXPIRE}},
            "CACHEOPS_INSIDEOUT": True,
        }

    def cached(self, name: str) -> Callable[[int], Any]:
        from cacheops import cached_as

        from bench.writes.questions import query_of

        def rows(key: int) -> Any:
            query = query_of(name, key)
            decorator = cached_as(query, extra=name, keep_fresh=True)
            return decorator(lambda: list(query.all()))()

        return rows

    def clear(self) -> None:
        from cacheops import invalidate_all

        invalidate_all()

    def say(self, model: Any, keys: Sequence[int]) -> None:
        from cacheops import invalidate_model

        invalidate_model(model)

    def update(self, rows: Any, **values: Any) -> None:
        rows.invalidated_update(**values)


class CacheopsQuerySets(Cacheops):
    """Its automatic caching of every query set, which has no ``keep_fresh``."""

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "CACHEOPS": {"*.*": {"ops": "all", "timeout": EXPIRE}}}

    def cached(self, name: str) -> Callable[[int], Any]:
        from bench.writes.questions import query_of

        return lambda key: list(query_of(name, key))


class Cachalot(Contender):
    """Caches every query, with its check of the final SQL for tables that it overlooked."""

    apps = ("cachalot",)

    def settings(self) -> dict[str, Any]:
        default = {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": self.servers.redis,
            "TIMEOUT": EXPIRE,
        }
        return {"CACHES": {"default": default}, "CACHALOT_FINAL_SQL_CHECK": True}

    def cached(self, name: str) -> Callable[[int], Any]:
        from bench.writes.questions import query_of

        return lambda key: list(query_of(name, key))

    def clear(self) -> None:
        from django.core.cache import cache

        cache.clear()

    def say(self, model: Any, keys: Sequence[int]) -> None:
        from cachalot.api import invalidate

        invalidate(model)


CONTENDERS: dict[str, type[Contender]] = {
    "regions, tags": Ours,
    "regions, depends_on queries": OursByQueries,
    "cacheops": Cacheops,
    "cacheops, query sets": CacheopsQuerySets,
    "cachalot": Cachalot,
}
