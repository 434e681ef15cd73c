"""The tests that dogpile.cache has for any backend, on values of a region."""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from dogpile.cache import register_backend
from dogpile.cache.api import NO_VALUE, BytesBackend
from dogpile.testing.fixtures import _GenericBackendTestSuite, _GenericSerializerTestSuite

from beaker_regions import CacheManager, parse_cache_config_options

_REGION = json.loads(os.environ["UPSTREAM_REGION"])
_OPTIONS = {f"cache.functions.{option}": value for option, value in _REGION.items()}
CACHE = CacheManager(**parse_cache_config_options({"cache.regions": "functions", **_OPTIONS}))


class ValuesBackend(BytesBackend):
    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._values = CACHE.values("functions", arguments["name"])

    def get_serialized(self, key: str) -> Any:
        return self._values.get(key, NO_VALUE)

    def get_serialized_multi(self, keys: Iterable[str]) -> list[Any]:
        wanted = list(keys)
        found = self._values.get_many(wanted)
        return [found.get(key, NO_VALUE) for key in wanted]

    def set_serialized(self, key: str, value: bytes) -> None:
        self._values.set(key, value)

    def set_serialized_multi(self, mapping: Mapping[str, bytes]) -> None:
        for key, value in mapping.items():
            self._values.set(key, value)

    def delete(self, key: str) -> None:
        self._values.delete(key)

    def delete_multi(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._values.delete(key)


register_backend("beaker_regions.api.values", __name__, "ValuesBackend")  # type: ignore[no-untyped-call]


class TestRegion(_GenericSerializerTestSuite, _GenericBackendTestSuite):
    backend = "beaker_regions.api.values"
    config_args = {"arguments": {"name": "dogpile"}}  # noqa: RUF012
