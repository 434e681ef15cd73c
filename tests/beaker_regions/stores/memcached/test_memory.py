"""A memcached without memory for more: what it has is as good as ever."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.servers import Memcached

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.beaker_regions.conftest import Calls, Manager


@pytest.fixture
def full() -> Iterator[Memcached]:
    """A memcached that refuses what it has no room for (-M)."""
    made = Memcached("-M", "-m", "4")
    made.start()
    yield made
    made.kill()


def test_hot_entries_stay_hits_while_a_full_server_takes_nothing_more(
    connected: Manager, full: Memcached, calls: Calls
) -> None:
    cache = connected(full.address, retry=60)
    counter = cache.counter("functions", "counter")

    @cache.region("functions")
    def load(number: int, size: int) -> tuple[int, bytes]:
        return calls(), os.urandom(size)

    hot = [load(number, 10) for number in range(3)]
    size = 500_000
    while size > 10:
        for number in range(1000):
            stored = cache["functions"].stats["failed.not_taken"]
            load(1000 + number, size)
            if cache["functions"].stats["failed.not_taken"] > stored:
                break
        size //= 8
    before = calls.count
    for number in range(200):
        assert load(number % 3, 10) == hot[number % 3]
        # What cannot be stored: a lease, generations, a value, a number.
        load(10_000 + number, 20)
        counter.add()
    assert calls.count == before + 200
    stats = cache["functions"].stats.snapshot()
    assert {event for event in stats if event.startswith("failed.")} == {"failed.not_taken"}
    load.invalidate(1, 10)
    cache.invalidate_region("functions")
    assert load(1, 10) != hot[1]
