"""The tests that cachelib has for each of its caches, on values of a region.

Its serializers are left out: what a region stores is sealed, in its own form.
"""

import json
import math
import os
from typing import Any

import pytest
import test_simple_cache  # type: ignore[import-not-found]
from cachelib import BaseCache
from clear import ClearTests  # type: ignore[import-not-found]
from common import CommonTests  # type: ignore[import-not-found]
from delete_many_with_prefix import (  # type: ignore[import-not-found]
    DeleteManyWithPrefixTests,
)
from has import HasTests  # type: ignore[import-not-found]

from beaker_regions import CacheManager, parse_cache_config_options

_REGION = json.loads(os.environ["UPSTREAM_REGION"])
_OPTIONS = {f"cache.functions.{option}": value for option, value in _REGION.items()}
CACHE = CacheManager(**parse_cache_config_options({"cache.regions": "functions", **_OPTIONS}))


class ValuesCache(BaseCache):
    def __init__(self, *, key_prefix: str = "", **options: Any) -> None:
        super().__init__(**options)
        self._prefix = key_prefix
        self._values = CACHE.values("functions", "cachelib")

    def _life(self, timeout: Any) -> float:
        return self._normalize_timeout(timeout) or math.inf

    def get(self, key: str) -> Any:
        return self._values.get(self._prefix + key)

    def get_many(self, *keys: str) -> list[Any]:
        found = self._values.get_many([self._prefix + key for key in keys])
        return [found.get(self._prefix + key) for key in keys]

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        return self._values.set(self._prefix + key, value, self._life(timeout))

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        return self._values.add(self._prefix + key, value, self._life(timeout))

    def delete(self, key: str) -> bool:
        found = self.has(key)
        self._values.delete(self._prefix + key)
        return found

    def has(self, key: str) -> bool:
        return self._values.get(self._prefix + key, self) is not self

    def clear(self) -> bool:
        self._values.clear()
        return True

    def inc(self, key: str, delta: int = 1) -> int | None:
        return self._values.update(self._prefix + key, lambda value: value + delta, default=0)

    def dec(self, key: str, delta: int = 1) -> int | None:
        return self.inc(key, -delta)


class TestRegion(CommonTests, ClearTests, HasTests, DeleteManyWithPrefixTests):  # type: ignore[misc]
    test_one_winner = test_simple_cache.TestSimpleCache.test_concurrent_add_only_one_winner

    @pytest.fixture(autouse=True)
    def _factory(self, request: pytest.FixtureRequest) -> None:
        request.cls.cache_factory = lambda _, **options: ValuesCache(**options)
        CACHE.clear()
