"""A row of the database, and a cached function that reads it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connections

from beaker_regions.django.models import writes

if TYPE_CHECKING:
    from collections.abc import Callable

    from beaker_regions import CacheManager
    from beaker_regions.api.function import CachedFunction


class Row:
    """A row with a name, and ``cached_name``: a function of the region that reads it."""

    def __init__(self, cache: CacheManager) -> None:
        self.cache = cache
        self.pk = User.objects.create(username=uuid4().hex, first_name="old").pk
        self.loads = 0

        @cache.region("functions", str(self.pk), tags=["user:{pk}"])
        def cached_name(pk: int) -> str:
            self.loads += 1
            return User.objects.get(pk=pk).first_name

        self.cached_name: CachedFunction[[int], str] = cached_name

    def read(self) -> str:
        return self.cached_name(self.pk)

    def write(self, name: str) -> None:
        User.objects.filter(pk=self.pk).update(first_name=name)
        self.cache.invalidate_tags(f"user:{self.pk}")


@pytest.fixture
def shelf() -> str:
    """A region's name that no other test uses."""
    return f"shelf{uuid4().hex}"


@pytest.fixture
def undeclared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn off automatic invalidation, because this application declares its users."""
    monkeypatch.setattr(writes, "is_installed", lambda: False)


@pytest.fixture
def row(transactional_db: None, cache: CacheManager) -> Row:
    return Row(cache)


def elsewhere(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in another thread, on a database connection of its own."""
    results: list[Any] = []

    def call() -> None:
        try:
            results.append(function(*args))
        except BaseException as error:
            results.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(30)
    assert results, "the other thread did not come back"
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]
