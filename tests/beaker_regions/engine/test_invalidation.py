"""An invalidation takes effect at one moment for all regions, whatever values contain others."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions import CacheManager, parse_cache_config_options
from beaker_regions.engine.invalidation import deferred_invalidation
from tests.beaker_regions.children import fork, statuses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers import Memcached

versions = itertools.count(1)
TYPES = ["memcached", "file", "memory", "cluster"]


@pytest.fixture
def manager(tmp_path: Path, memcached: Memcached, own_memcached: Memcached) -> CacheManager:
    """A manager with a region of each type, on separate stores."""
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
def test_a_value_made_of_another_regions_value_is_no_older_than_it(
    manager: CacheManager, monkeypatch: pytest.MonkeyPatch, outer: str, inner: str
) -> None:
    truth = next(versions)

    @manager.region(inner, tags=["truth"])
    def inside() -> int:
        return truth

    @manager.region(outer, tags=["truth"])
    def outside() -> int:
        return inside()

    manager.invalidate_tags("truth")  # a region in memory belongs to the process, not to one test
    before_and_after_each_store(manager, monkeypatch, outside)
    for _ in range(3):
        assert outside() == inside() == truth
        truth = next(versions)
        manager.invalidate_tags("truth")
    assert outside() == inside() == truth


def before_and_after_each_store(
    manager: CacheManager, monkeypatch: pytest.MonkeyPatch, read: Callable[[], object]
) -> None:
    """Let another thread read before and after each store is invalidated."""

    def disturb(store: Any) -> None:
        invalidate = store.invalidate

        def disturbed(*args: Any) -> None:
            for step in (read, lambda: invalidate(*args), read):
                thread = threading.Thread(target=step)
                thread.start()
                thread.join()

        monkeypatch.setattr(store, "invalidate", disturbed)

    for store in {manager[name].store.generation_store for name in manager.options}:
        disturb(store)


# -- a time limit in the middle ----------------------------------------------------------------


class TimeUpError(Exception):
    """Like Celery's SoftTimeLimitExceeded."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    def end(number: int, frame: object) -> None:
        raise TimeUpError

    former = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with pytest.raises(TimeUpError):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


@pytest.mark.parametrize("way", ["at once", "bulk change"])
def test_a_time_limit_while_a_server_hangs_skips_no_store(
    manager: CacheManager, own_memcached: Memcached, way: str
) -> None:
    truth = next(versions)

    def function(region: str) -> Any:
        @manager.region(region, tags=["truth"])
        def load() -> int:
            return truth

        return load

    read = {region: function(region) for region in ("servers", "file", "memory", "cluster")}
    manager.invalidate_tags("truth")
    assert {each() for each in read.values()} == {truth}
    go_on, tell = os.pipe()

    def peek() -> None:
        os.read(go_on, 1)
        assert read["file"].peek() is None

    other = fork(peek)  # before there is anything that a child could inherit
    truth = next(versions)
    own_memcached.pause()
    with time_limit(0.3):
        if way == "bulk change":
            with deferred_invalidation():
                manager.invalidate_tags("truth")
        else:
            manager.invalidate_tags("truth")
    os.write(tell, b".")
    assert statuses([other]) == [0], "nor is it found by another process of the host"
    own_memcached.resume()
    assert {region: each() for region, each in read.items()} == dict.fromkeys(read, truth)
