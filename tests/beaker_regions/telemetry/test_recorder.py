"""The counts of regions: exact, by function, over live and ended processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beaker_regions import CacheManager
from beaker_regions.reports import metrics
from beaker_regions.reports.metrics import Activity
from beaker_regions.telemetry import aggregate, maintenance
from beaker_regions.telemetry.sampling import function_id
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import Manager, make_manager

PROCESSES = 8
CALLS = 500


def counted(cache: CacheManager) -> list[Activity]:
    """The counts of all processes by function, without those of the whole region."""
    folder = cache["functions"].metrics
    assert folder is not None
    return [each for each in metrics.collect(folder) if each.function]


def decorated(cache: CacheManager) -> Any:
    @cache.region("functions")
    def square(number: int) -> int:
        return number * number

    return square


@pytest.fixture(params=["file_manager", "memcached_manager"])
def sharing(request: pytest.FixtureRequest, tmp_path: Path) -> Manager:
    """Make managers whose processes share their counts."""
    made: Manager = request.getfixturevalue(request.param)
    given = {} if request.param == "file_manager" else {"data_dir": tmp_path}
    return lambda **options: made(**options, **given)


def test_every_call_is_a_hit_a_miss_or_stale(sharing: Manager) -> None:
    fails = threading.Event()

    def load(text: str) -> str:
        if fails.is_set():
            raise ConnectionError("the database is away")
        time.sleep(0.01)
        return text

    cache = sharing(expire=60, grace=60)
    cached = cache.region("functions")(load)
    for text in ("a", "a", "bb", "a"):
        cached(text)
    fails.set()
    impatient = sharing(expire=0.001, grace=60).region("functions")(load)
    assert impatient("a") == "a"
    with pytest.raises(ConnectionError):
        impatient("c")
    cached.invalidate("a")
    (found,) = counted(cache)
    assert found.function == cached.name
    assert (found.calls, found.hits, found.misses, found.stale) == (6, 2, 3, 1)
    assert (found.loads, found.load_errors) == (2, 2)
    assert 0.02 <= found.load_seconds < 60
    assert found.invalidations == 1
    assert dict(found.failures) == {"load": 1}
    assert found.bytes_in == 3
    assert found.bytes_out > 0
    assert found.hit_ratio == 0.5
    assert found.seconds_saved == pytest.approx(3 * found.load_average)


def test_functions_are_counted_apart(cache: CacheManager) -> None:
    @cache.region("functions")
    def other() -> int:
        return 1

    square = decorated(cache)
    square(1)
    other()
    other()
    assert cache["functions"].stats.of(square.name).calls() == 1
    assert cache["functions"].stats.of(other.name).calls() == 2
    assert cache["functions"].stats["hits"] == 1


def test_threads_lose_no_count(file_manager: Manager) -> None:
    cache = file_manager()
    square = decorated(cache)
    stats = cache["functions"].stats.of(square.name)
    threads = [
        threading.Thread(target=lambda: [None for _ in map(stats.count, ["hits"] * 20_000)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (found,) = counted(cache)
    assert found.hits == 160_000


def test_the_counts_of_live_and_ended_processes_are_added_up(file_manager: Manager) -> None:
    cache = file_manager()
    square = decorated(cache)
    square(0)

    def call() -> None:
        for number in range(CALLS):
            square(number % 7)

    def call_and_stay() -> None:
        call()
        signal.pause()

    killed = fork(call_and_stay)
    try:
        assert set(statuses([fork(call) for _ in range(PROCESSES - 1)])) == {0}
        ends = time.monotonic() + 60
        while counted(cache)[0].calls < 1 + PROCESSES * CALLS and time.monotonic() < ends:
            time.sleep(0.01)
    finally:
        os.kill(killed, signal.SIGKILL)
        os.waitpid(killed, 0)
    folder = cache["functions"].metrics
    assert folder is not None
    for _ in range(2):
        (found,) = counted(cache)
        assert found.calls == 1 + PROCESSES * CALLS, "a killed process loses no count"
        metrics.bring_up_to_date(folder)
    assert len(list(folder.glob("*.counts"))) == 1, "files of processes that are gone are not kept"


def test_a_forked_child_counts_only_its_own_calls(file_manager: Manager) -> None:
    cache = file_manager()
    square = decorated(cache)
    square(1)

    def call() -> None:
        assert cache["functions"].stats["misses"] == 0
        square(1)
        assert cache["functions"].stats.snapshot() == {"hits": 1}

    assert statuses([fork(call)]) == [0]
    (found,) = counted(cache)
    assert (found.hits, found.misses) == (1, 1)


def test_a_damaged_file_loses_only_its_own_numbers(file_manager: Manager) -> None:
    cache = file_manager()
    square = decorated(cache)
    square(1)
    folder = cache["functions"].metrics
    assert folder is not None
    damaged = {"1-a.counts": b"x", "1-b.counts": os.urandom(1 << 16), "totals": b"{"}
    for name, content in damaged.items():
        (folder / name).write_bytes(content)
    metrics.bring_up_to_date(folder)
    assert counted(cache)[0].calls == 1


def test_a_folder_that_cannot_be_written_fails_no_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".metrics").write_text("no folder")
    cache = make_manager(type="file", data_dir=tmp_path, secret="of the tests")
    square = decorated(cache)
    assert [square(2) for _ in range(3)] == [4, 4, 4]
    square.invalidate(2)
    assert cache["functions"].stats["hits"] == 2
    (said,) = caplog.messages
    assert said.startswith("the counts of this process cannot be shared")


def test_more_functions_than_one_file_has_room_for(file_manager: Manager) -> None:
    cache = file_manager()
    stats = cache["functions"].stats
    for number in range(3000):
        stats.of(f"a.module.of.the.application.function_{number}").count("misses")
    assert sum(each.calls for each in counted(cache)) == 3000


def test_the_lists_of_slowest_largest_and_invalidated_calls(tmp_path: Path) -> None:
    cache = make_manager(type="file", data_dir=tmp_path, secret="of the tests")

    @cache.region("functions", tags=["shelf:{size}"])
    def slow(size: int) -> bytes:
        time.sleep(size / 1000)
        return b"x" * size

    folder = cache["functions"].metrics
    assert folder is not None
    for size in (5, 20, 10):
        slow(size)
    (slowest,) = metrics.slowest_loads(folder)
    assert slowest.what == slow.name
    assert slowest.number >= 0.02
    (largest,) = metrics.largest_values(folder)
    assert largest.number == 20
    slow.invalidate(5)
    cache.invalidate_tags("shelf:5")
    cache.invalidate_region("functions")
    assert [note.what for note in metrics.invalidations(folder)] == [
        "the whole region",
        "tags: shelf:5",
        f"one call of {slow.name}",
    ]


class Lazy:
    """A value that is read when it is stored, as a query set is."""

    def __reduce__(self) -> Any:
        time.sleep(0.02)
        return (Lazy, ())


def test_a_load_takes_until_all_of_its_content_is_stored(file_manager: Manager) -> None:
    cache = file_manager()

    @cache.region("functions")
    def streamed(ends_well: bool) -> Any:
        time.sleep(0.02)
        return chunks(ends_well)

    def chunks(ends_well: bool) -> Iterator[bytes]:
        yield b"begun"
        time.sleep(0.03)
        if not ends_well:
            raise ConnectionError("the origin is away")
        yield b"ended"

    @cache.region("functions")
    def lazy() -> Lazy:
        return Lazy()

    streamed(True)
    lazy()
    with pytest.raises(ConnectionError):
        streamed(False)
    of_lazy, of_stream = sorted(counted(cache), key=lambda each: "streamed" in each.function)
    assert (of_stream.loads, of_stream.load_errors) == (1, 1)
    assert of_stream.load_seconds >= 0.05
    assert of_lazy.load_seconds >= 0.02
    region, entry = cache["functions"], streamed.entry(True)
    lookup = region.read(entry, region.store.read)
    assert lookup is not None
    assert lookup.record is not None
    assert lookup.record.load_seconds >= 0.05, "early= needs it too"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the time, in seconds since the epoch."""
    return lambda now: monkeypatch.setattr(time, "time", lambda: now)


def test_every_count_belongs_to_its_period(
    file_manager: Manager, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # By the moved clock, a file that is being made would be one that was left behind long ago.
    monkeypatch.setattr(aggregate, "ABANDONED", float("inf"))
    hour, minute = 60 * 60, 60
    noon = 500_000 * hour
    clock(noon - 30 * minute)
    cache = file_manager(expire=86400)
    square = decorated(cache)
    folder = cache["functions"].metrics
    assert folder is not None

    def calls_since(seconds: float, now: float) -> int:
        found = metrics.collect(folder, aggregate.start_of(seconds, now))
        return metrics.activity(found, "functions", square.name).calls

    for _ in range(100):
        square(1)
    # Nothing is called for a while, and no process tells how much it has counted.
    now = noon + hour
    assert calls_since(hour, now) == 0
    assert calls_since(24 * hour, now) == 100
    clock(now)
    for _ in range(10):
        square(1)
    metrics.bring_up_to_date(folder)  # the old counts are folded into the totals
    assert calls_since(hour, now) == 10
    assert calls_since(24 * hour, now) == 110
    simulated = maintenance.simulation_of(folder, function_id("functions", square.name))
    assert {at: of_hour.calls for at, of_hour in simulated.hours.items()} == {
        noon // hour - 1: 100,
        noon // hour + 1: 10,
    }
    clock(now + 30 * hour)
    square(1)
    metrics.bring_up_to_date(folder)
    assert calls_since(24 * hour, now + 30 * hour) == 1
    assert counted(cache)[0].calls == cache["functions"].stats.of(square.name).calls() == 111


def test_evictions_are_counted(tmp_path: Path) -> None:
    cache = make_manager(type="file", data_dir=tmp_path, secret="s", size_limit=50_000)

    @cache.region("functions")
    def load(number: int) -> bytes:
        return os.urandom(10_000)

    for number in range(20):
        load(number)
    assert 10 <= cache["functions"].stats["evictions"] <= 20


DAMAGE = {
    "zeros": bytes(1 << 16),
    "ones": b"\xff" * (1 << 16),
    "the largest numbers": (2**63 - 1).to_bytes(8, "little") * (1 << 13),
    "letters": b"abcdefgh" * (1 << 13),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_of_counts_fails_no_call(
    file_manager: Manager, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = file_manager()
    folder = cache["functions"].metrics
    assert folder is not None
    square = decorated(cache)
    assert square(2) == square(2) == 4
    for path in folder.glob("*.counts"):
        with open(path, "r+b") as file:
            file.write(DAMAGE[damage])

    @cache.region("functions")
    def another(number: int) -> int:
        return number

    now = time.time
    for later in range(3):
        monkeypatch.setattr(time, "time", lambda later=later: now() + later)
        assert [square(number) for number in (2, 2, 3, 3)] == [4, 4, 9, 9]
        assert [another(number) for number in (2, 2, 3, 3)] == [2, 2, 3, 3]
    metrics.collect(folder)
    metrics.bring_up_to_date(folder)


@pytest.mark.parametrize("name", ["choices", "counted", "totals"])
@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"1",
        b'{"1": 2}',
        b'{"1": ["a", ["b"]]}',
        b'{"x": [1, [-1, 1e400]]}',
        b'{"at": "yesterday", "totals": [[1]]}',
        b'{"at": NaN, "totals": []}',
        b'{"totals": [[1, {}, "a", "b"]], "contained": [[]]}',
    ],
)
def test_a_damaged_file_does_not_end_the_maintenance(
    file_manager: Manager, name: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    cache = file_manager()
    folder = cache["functions"].metrics
    assert folder is not None
    square = decorated(cache)
    square(2)
    metrics.bring_up_to_date(folder)
    (folder / name).write_bytes(content)
    for number in range(3):
        square(number)
    maintenance._do(folder, lambda *_: None, lambda _: None)
    metrics.bring_up_to_date(folder)
    assert not [line for line in caplog.messages if "cannot be added up" in line]
    assert maintenance.choices(folder)
    assert metrics.advise(folder, "functions", counted(cache)[0].function, 60)
