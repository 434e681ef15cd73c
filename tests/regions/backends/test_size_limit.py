"""A files region that has a limit."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from regions.backends import upkeep
from regions.backends.files import FileStore
from tests.regions.children import fork, statuses
from tests.regions.conftest import Calls, make_manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from regions import CacheManager

LIMIT = 2_000_000
"""Bytes."""


def limited(tmp_path: Path, **options: Any) -> CacheManager:
    return make_manager(
        type="file", data_dir=tmp_path, secret="of the tests", size_limit=LIMIT, **options
    )


def store_of(cache: CacheManager) -> FileStore:
    store = cache["functions"].store
    assert isinstance(store, FileStore)
    return store


@pytest.mark.parametrize("size", [2_000, 20_000, 200_000])
def test_the_limit_holds(tmp_path: Path, size: int) -> None:
    cache = limited(tmp_path)

    @cache.region("functions")
    def load(number: int) -> bytes:
        return os.urandom(size)

    @cache.region("functions")
    def stream(number: int) -> Iterator[bytes]:
        yield os.urandom(size)

    for number in range(2 * LIMIT // (size + 200)):
        assert len(load(number)) == size
        assert len(stream(number).read_bytes()) == size
    used = upkeep.usage(store_of(cache)).size
    assert used <= LIMIT, "never over it"
    assert used > LIMIT / 2, "and not emptied"


def test_what_was_used_lately_stays(tmp_path: Path, calls: Calls) -> None:
    cache = limited(tmp_path)

    @cache.region("functions")
    def load(number: int) -> bytes:
        calls()
        return os.urandom(5_000)

    for number in range(300):
        load(number)
    long_ago = time.time() - 3600
    for found in upkeep.stored(store_of(cache)):
        os.utime(found.path, (long_ago, long_ago))
    for number in range(100):
        load(number)  # used again
    assert calls.count == 300
    for number in range(1000, 1200):
        load(number)
    used = sum(load.peek(number) is not None for number in range(100))
    unused = sum(load.peek(number) is not None for number in range(100, 300))
    assert used > 90
    assert unused < 100


def test_what_has_expired_goes_first(tmp_path: Path) -> None:
    cache = limited(tmp_path)

    @cache.region("functions", expire=0.05)
    def short(number: int) -> bytes:
        return os.urandom(5_000)

    @cache.region("functions", expire=60)
    def long(number: int) -> bytes:
        return os.urandom(5_000)

    for number in range(150):
        long(number)
    for number in range(200):
        short(number)
    time.sleep(0.1)
    for number in range(1000, 1080):
        long(number)
    assert all(long.peek(number) is not None for number in range(150))


def test_equal_content_counts_once(tmp_path: Path, calls: Calls) -> None:
    cache = limited(tmp_path)
    content = os.urandom(1_000_000)

    @cache.region("functions")
    def load(number: int) -> bytes:
        calls()
        return content

    for _ in range(2):
        for number in range(20):
            load(number)
    assert calls.count == 20, "nothing had to go"


def test_the_count_is_mended_by_a_sweep(tmp_path: Path) -> None:
    cache = limited(tmp_path)

    @cache.region("functions")
    def load(number: int) -> bytes:
        return os.urandom(10_000)

    for number in range(50):
        load(number)
    (tmp_path / "functions" / "usage").write_bytes(b"\xff" * 6 + b"\0\0")
    upkeep.sweep(store_of(cache))
    load(1000)
    assert all(load.peek(number) is not None for number in range(50))


def test_processes_that_write_at_once_stay_below_it_together(tmp_path: Path) -> None:
    def write() -> None:
        cache = limited(tmp_path)

        @cache.region("functions")
        def load(number: int) -> bytes:
            return os.urandom(10_000)

        for number in range(150):
            assert len(load(os.getpid() * 1000 + number)) == 10_000
        assert cache["functions"].stats.snapshot().keys() <= {"misses", "loads", "hits"}

    children = [fork(write) for _ in range(4)]
    assert statuses(children) == [0] * 4
    assert upkeep.usage(store_of(limited(tmp_path))).size <= LIMIT * 1.05


@pytest.mark.parametrize("value", [0, -1, "much", True])
def test_what_is_no_limit_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match=r"size_limit = .*number of bytes"):
        make_manager(type="file", data_dir=tmp_path, secret="s", size_limit=value)
