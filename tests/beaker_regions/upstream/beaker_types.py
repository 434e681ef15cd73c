"""For a run of Beaker's own tests, in a process of its own: Beaker's types are this library's.

A plugin of pytest. The environment describes the region, as for the tests of others.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import pickle
import sys
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import beaker._compat
import beaker.cache
import beaker_tests  # type: ignore[import-not-found]
import pytest

from beaker_regions import patch_beaker

if TYPE_CHECKING:
    from collections.abc import Callable

    from beaker_regions.beaker_api.namespace import RegionNamespace

_FILE = "opens the file of Beaker's file type"
_CRYPTO = "encrypts a cookie, in which no store has a part"
LEFT_OUT = {
    "test_remove_stale": "writes into the memory type as that stores",
    "test_file_open_bug": _FILE,
    "test_removing_file_refreshes": _FILE,
    "test_file_based_replace_optimization": _FILE,
    "test_use_json_serializer_without_encryption_key": _FILE,
    "test_invalidate_corrupt": _FILE,
    "test_memory_container*": "is test_file_container, since both types are one here",
    "test_dbm_container*": "is test_file_container, since both types are one here",
    "test_file_container_tlocal": "clears what another thread is loading; it is then loaded again",
    "test_session": "encrypts in between; beaker_on_region has its other parts",
    "test_invalidate_empty_cookie": _CRYPTO,
    "test_unrelated_cookie": _CRYPTO,
    "test_invalidate_invalid_signed_cookie*": _CRYPTO,
    "TestSessionObject": "insists on the memory type; beaker_on_region has it without that",
    "TestSaveAccessedTime": "removes the file type's folder; beaker_on_region has it without that",
    "test_cookie_expires_different_locale": "needs an Italian machine",
}
"""Tests and classes of Beaker's that are not run, and why. Not run at all are the modules about
sessions without a store (test_cookie_only, test_cookie_domain_only), about Beaker's own parts
(test_converters, test_pbkdf2, test_syncdict, test_synchronizer), and about types that stay Beaker's
or whose tests only repeat these (test_database, test_sqla, test_memcached, test_ext_...)."""

_REGION = json.loads(os.environ["UPSTREAM_REGION"])
TYPE = _REGION.pop("type")
if TYPE != "file":
    LEFT_OUT["test_directory_goes_away"] = "removes the file type's folder"
CACHE_ARGS = {"type": TYPE} | {k: v for k, v in _REGION.items() if k in ("url", "data_dir")}
patch_beaker(**_REGION)
_types = beaker.cache.clsmap._clsmap
_ours: Callable[..., RegionNamespace] = _types[TYPE]


def _namespace(type_: str, name: str, **options: Any) -> RegionNamespace:
    """Return a namespace that caches of the same name and of another type do not share."""
    return _ours(f"{type_} {name}", **options)


_types |= {type_: functools.partial(_namespace, type_) for type_ in ("dbm", "file", "memory")}

# Those tests are of an earlier release than Beaker itself, and name what it has no longer.
beaker._compat.u_ = str
beaker._compat.pickle = pickle
beaker._compat.b64decode = base64.b64decode
# And they name their own package.
sys.modules["tests"] = beaker_tests


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if _is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _is_left_out(item: pytest.Item) -> bool:
    names = [node.name for node in item.listchain()]
    return item.path.stem != "beaker_on_region" and any(
        fnmatch(name, pattern) for name in names for pattern in LEFT_OUT
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let the tests that use one entry from many threads for ten seconds do so for less."""
    if item.path.stem == "test_container" and isinstance(item, pytest.Function):
        item.function.__defaults__ = (0.3, *(item.function.__defaults__ or ())[1:])
