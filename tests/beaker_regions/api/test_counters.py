"""Counters: no count is lost when several processes count at the same moment."""

from __future__ import annotations

import functools
import os
import random
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions import ConfigurationError, UnkeyableArgumentError
from beaker_regions.stores.files.counters import FileCounters
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import make_manager
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from beaker_regions import CacheManager
    from tests.beaker_regions.conftest import Later, Manager
    from tests.servers import Memcached

PROCESSES = 8
TIMES = 150


@pytest.fixture
def memcached_manager(memcached: Memcached) -> Manager:
    """A manager with long time limits: a busy machine is not an error."""
    return lambda **options: make_manager(
        type="ext:memcached", url=memcached.address, secret="of the tests", timeout=10, **options
    )


def test_eight_processes_lose_no_count(cache: CacheManager) -> None:
    first = cache.counter("functions", "visits", "page")
    first.add(5)

    def count() -> None:
        seen = [first.add() or 0 for _ in range(TIMES)]
        assert seen == sorted(set(seen))

    assert statuses([fork(count) for _ in range(PROCESSES)]) == [0] * PROCESSES
    assert first.value() == 5 + PROCESSES * TIMES


def _is_longer(path: Path, size: int) -> bool:
    return path.stat().st_size > size


def test_a_killed_process_loses_no_confirmed_count(file_manager: Manager, tmp_path: Path) -> None:
    counter = file_manager().counter("functions", "visits")
    counted = tmp_path / "counted"
    counted.touch()

    def count() -> None:
        with counted.open("ab", buffering=0) as file:
            while True:
                file.write(b"%d " % (counter.add() or 0))

    for _ in range(5):
        before = counted.stat().st_size
        child = fork(count)
        until(functools.partial(_is_longer, counted, before + 10))
        time.sleep(random.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        statuses([child])
    last = int(counted.read_bytes().split()[-1])
    assert last > 5
    # Each killed process may have counted once without receiving the answer.
    assert last < (counter.add() or 0) <= last + 2


def test_a_counter_is_identified_by_name_and_typed_key(cache: CacheManager) -> None:
    assert cache.counter("functions", "hits", 1).add() == 1
    assert cache.counter("functions", "hits", "1").add() == 1
    assert cache.counter("functions", "hits 1").add() == 1
    assert cache.counter("functions", "misses", 1).value() == 0
    assert cache.counter("functions", "hits", 1).add(2) == 3


def test_counting_does_not_postpone_the_expiry_of_a_counter(
    cache: CacheManager,
) -> None:
    tries = cache.counter("functions", "tries", expire=2)
    seen = [tries.add()]

    def begins_again() -> bool:
        time.sleep(0.1)
        seen.append(tries.add())
        return seen[-1] == 1

    until(begins_again)
    assert len(seen) > 2
    assert seen == [*range(1, len(seen)), 1]


def test_a_counter_restarts_when_it_is_reset(cache: CacheManager) -> None:
    tries = cache.counter("functions", "tries", "someone")
    tries.add(7)
    tries.reset()
    assert tries.value() == 0
    assert tries.add() == 1


def test_invalidating_its_region_does_not_affect_a_counter(cache: CacheManager) -> None:
    counter = cache.counter("functions", "downloads")
    counter.add()
    cache.invalidate_region("functions")
    assert counter.value() == 1


def test_expired_counters_make_room_for_new_ones(tmp_path: Path, later: Later) -> None:
    cache = make_manager(type="file", data_dir=tmp_path, secret="of the tests")

    def used() -> int:
        return sum(path.stat().st_size for path in tmp_path.rglob("counters/*"))

    for number in range(500):
        cache.counter("functions", "short", number, expire=60).add()
    size = used()
    later(90)
    for number in range(500):
        cache.counter("functions", "also short", number, expire=60).add()
    assert used() < 1.5 * size
    assert len(list(tmp_path.rglob("counters/*"))) <= 256


def test_a_record_that_is_no_counter_is_refused_once_and_restarted(manager: Manager) -> None:
    cache = manager()
    counter = cache.counter("functions", "downloads")
    counter.add(3)
    _damage(cache)
    assert counter.add() is None
    assert cache["functions"].stats["failed.refused"] == 1
    assert counter.add() == 1


def _damage(cache: CacheManager) -> None:
    """Damage the record of the only counter."""
    store: Any = cache["functions"].store
    if isinstance(store.counters, FileCounters):
        (path,) = store.folder.glob("counters/*")
        data = path.read_bytes()
        path.write_bytes(data[:-6] + b"\xff" + data[-5:])
        return
    address = cache.counter("functions", "downloads")._address
    server = store.generation_store._server(address)
    key = server.key_of(f"c{address.hex()}")
    server.ask(lambda connection: connection.set(key, b"no number", 60.0))


def test_while_a_server_is_unavailable_a_count_is_unknown_and_afterwards_it_works(
    own_memcached: Memcached, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make_manager(
        type="ext:memcached", url=own_memcached.address, secret="of the tests", retry=0.01
    )
    counter = cache.counter("functions", "downloads")
    assert counter.add() == 1
    own_memcached.kill()
    assert counter.add() is None
    assert counter.value() is None
    counter.reset()
    assert cache["functions"].stats["failed.server"] > 0
    assert "counter 'downloads'" in caplog.text
    own_memcached.start()
    counts: list[int | None] = []

    def counts_again() -> bool:
        counts.append(counter.add())
        return counts[-1] is not None

    until(counts_again)
    assert counts[-1] == 1


def test_in_a_folder_that_cannot_be_written_a_count_is_unknown(tmp_path: Path) -> None:
    cache = make_manager(type="file", data_dir=tmp_path, secret="of the tests")
    (tmp_path / "functions").mkdir(exist_ok=True)
    (tmp_path / "functions" / "counters").write_text("in the way")
    counter = cache.counter("functions", "downloads")
    assert counter.add() is None
    assert counter.value() is None
    assert cache["functions"].stats["failed.count"] == 2


def test_a_region_that_is_turned_off_counts_nothing(manager: Manager) -> None:
    counter = manager(enabled=False).counter("functions", "downloads")
    assert counter.add() is None
    assert counter.value() is None


def test_a_type_that_cannot_count_is_refused_at_definition() -> None:
    cache = make_manager(type="memory", secret="of the tests")
    with pytest.raises(ConfigurationError, match="use a region of type 'file', 'ext:mem"):
        cache.counter("functions", "downloads")


def test_invalid_arguments_of_a_counter_are_refused(cache: CacheManager) -> None:
    with pytest.raises(ValueError, match="'downloads': 0 is not a number from 1"):
        cache.counter("functions", "downloads").add(0)
    with pytest.raises(UnkeyableArgumentError, match="counter 'downloads'"):
        cache.counter("functions", "downloads", object())
    with pytest.raises(ConfigurationError, match="counter 'downloads': expire = -1"):
        cache.counter("functions", "downloads", expire=-1)
