"""Connections and locks of a process do no harm to its forked children."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from beaker.cache import Cache

from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import ON_REDIS, REDIS_TYPES, make_manager, redis_options

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Memcached

CHILDREN = 4
KEYS = 200


@pytest.fixture(params=["file", "cluster", "memcached", *ON_REDIS])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param in REDIS_TYPES:
        return redis_options(request)
    url = request.getfixturevalue("memcached").address
    if request.param in ("file", "cluster"):
        own = {"type": "file", "data_dir": request.getfixturevalue("tmp_path")}
        if request.param == "cluster":
            own |= {"cluster": "servers", "servers": {"url": url, "timeout": 10}}
    else:
        own = {"type": "ext:memcached", "url": url, "timeout": 10}
    return {**own, "secret": "of the tests"}


def test_children_never_get_another_keys_value(options: dict[str, Any]) -> None:
    cache = make_manager(**options)

    @cache.region("functions")
    def load(number: int) -> str:
        return f"value {number}"

    def read() -> None:
        for _ in range(3):
            for number in range(KEYS):
                assert load(number) == f"value {number}"
        load.invalidate(os.getpid())
        assert load(os.getpid()) == f"value {os.getpid()}"
        assert not [event for event in cache["functions"].stats.snapshot() if "failed" in event]

    read()
    children = [fork(read) for _ in range(CHILDREN)]
    read()
    assert statuses(children) == [0] * CHILDREN
    read()


def test_stock_beaker_returns_values_of_other_keys(memcached: Memcached, tmp_path: Path) -> None:
    """The reason for these tests: Beaker's own memcached type shares its client with children."""
    stock = Cache("stock", type="ext:memcached", url=memcached.address, lock_dir=str(tmp_path))
    for number in range(KEYS):
        stock.set_value(f"key{number}", f"value {number}")

    def read() -> None:
        for _ in range(3):
            for number in range(KEYS):
                assert stock.get_value(f"key{number}") == f"value {number}"

    assert statuses([fork(read) for _ in range(CHILDREN)]) != [0] * CHILDREN
