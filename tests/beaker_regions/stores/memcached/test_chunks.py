"""Values that memcached would not take as they are: compressed, and in parts."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import memcache
import pytest

from tests.beaker_regions.conftest import Calls, Manager

if TYPE_CHECKING:
    from tests.beaker_regions.stores.proxies import Proxy
    from tests.servers import Memcached

MEBIBYTE = 1024 * 1024
NOISE = random.Random(1).randbytes(5 * MEBIBYTE)
"""Cannot be compressed."""


@pytest.mark.parametrize(
    "value",
    [
        "text " * MEBIBYTE,
        b"\0" * (20 * MEBIBYTE),
        NOISE,
        NOISE[:1_000_000],
        NOISE[:1_000_001],
        NOISE[: MEBIBYTE - 40],
        [NOISE, {"nested": NOISE[: 2 * MEBIBYTE]}],
        "ü\ud800" * 500_000,
    ],
    ids=lambda value: f"{type(value).__name__}-{len(value)}",
)
def test_large_values_are_stored(
    connected: Manager, memcached: Memcached, calls: Calls, value: object
) -> None:
    cache = connected(memcached.address)

    @cache.region("functions")
    def load() -> object:
        calls()
        return value

    assert load() == value
    assert load() == value
    assert type(load()) is type(value)
    assert calls.count == 1


def test_compressible_values_take_less_room(connected: Manager, own_memcached: Memcached) -> None:
    cache = connected(own_memcached.address)

    @cache.region("functions")
    def load() -> str:
        return "the same line again\n" * 20_000

    load()
    assert 0 < own_memcached.stats()["bytes"] < 20_000


def test_a_large_value_is_two_requests(connected: Manager, proxy: Proxy) -> None:
    cache = connected(proxy.address)

    @cache.region("functions")
    def load() -> bytes:
        return NOISE

    load()
    proxy.requests.clear()
    assert load() == NOISE
    assert len(proxy.requests) == 2


@pytest.mark.parametrize("damage", ["delete", "replace"])
def test_a_part_that_is_gone_or_changed_is_a_miss_and_is_loaded_again(
    connected: Manager, memcached: Memcached, calls: Calls, damage: str
) -> None:
    cache = connected(memcached.address)

    @cache.region("functions")
    def load() -> bytes:
        calls()
        return NOISE

    assert load() == NOISE
    (part,) = [key for key in memcached.keys() if key.endswith(":2")]  # noqa: SIM118
    client = memcache.Client([memcached.address])
    assert client.delete(part) if damage == "delete" else client.set(part, "evil")
    client.disconnect_all()
    assert load() == NOISE
    assert calls.count == 2
    assert cache["functions"].stats["failed.unreadable"] == 1
    assert load() == NOISE
    assert calls.count == 2


def test_a_value_that_is_too_large_for_good_is_said(
    connected: Manager, memcached: Memcached, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    cache = connected(memcached.address, lease=60)  # it takes a busy machine seconds to compress
    huge = NOISE * 13

    @cache.region("functions")
    def load() -> bytes:
        calls()
        return huge

    assert load() == huge
    assert load() == huge
    assert calls.count == 2
    assert cache["functions"].stats["failed.not_taken"] == 2
    (line,) = caplog.messages
    assert "load" in line
    assert str(len(huge))[:3] in line
