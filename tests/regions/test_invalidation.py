"""An invalidation is one moment for all regions, whatever their values are made of."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest

from regions import CacheManager, parse_cache_config_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers import Memcached

versions = itertools.count(1)
TYPES = ["memcached", "file", "memory", "cluster"]


@pytest.fixture
def manager(tmp_path: Path, memcached: Memcached, own_memcached: Memcached) -> CacheManager:
    """Of a region of each type, on stores of their own."""
    files: dict[str, Any] = {"type": "file", "data_dir": tmp_path / "files"}
    cluster: dict[str, Any] = {"type": "file", "data_dir": tmp_path / "cluster"}
    servers = {"type": "ext:memcached", "timeout": 5}
    regions = {
        "memcached": servers | {"url": memcached.address},
        "file": files,
        "memory": {"type": "memory"},
        "servers": servers | {"url": own_memcached.address},
        "cluster": cluster | {"cluster": "servers"},
    }
    options = {
        f"cache.{region}.{name}": value
        for region, own in regions.items()
        for name, value in own.items()
    }
    regions_option = {"cache.regions": list(regions), "cache.secret": "of the tests"}
    return CacheManager(**parse_cache_config_options(regions_option | options))


@pytest.mark.parametrize(("outer", "inner"), list(itertools.permutations(TYPES, 2)))
def test_what_is_made_of_another_regions_value_is_no_older_than_that(
    manager: CacheManager, monkeypatch: pytest.MonkeyPatch, outer: str, inner: str
) -> None:
    truth = next(versions)

    @manager.region(inner, tags=["truth"])
    def inside() -> int:
        return truth

    @manager.region(outer, tags=["truth"])
    def outside() -> int:
        return inside()

    manager.invalidate_tags("truth")  # a region in memory is this process's, and no test's
    before_and_after_each_store(manager, monkeypatch, outside)
    for _ in range(3):
        assert outside() == inside() == truth
        truth = next(versions)
        manager.invalidate_tags("truth")
    assert outside() == inside() == truth


def before_and_after_each_store(
    manager: CacheManager, monkeypatch: pytest.MonkeyPatch, read: Callable[[], object]
) -> None:
    """Let somebody else read whenever a store is told, and when it has been."""

    def disturb(store: Any) -> None:
        invalidate = store.invalidate

        def disturbed(*args: Any) -> None:
            for step in (read, lambda: invalidate(*args), read):
                thread = threading.Thread(target=step)
                thread.start()
                thread.join()

        monkeypatch.setattr(store, "invalidate", disturbed)

    for store in {manager[name].store.authority for name in manager.options}:
        disturb(store)
