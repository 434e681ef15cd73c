"""An exception that a signal handler raises, as a job's time limit does, reaches the caller."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from beaker_regions import CacheManager
    from tests.beaker_regions.conftest import Calls, Manager


TURNS = 60


class TimeUpError(Exception):
    """As Celery's SoftTimeLimitExceeded."""


@pytest.fixture(params=[pytest.param(TimeUpError, marks=pytest.mark.slow), TimeoutError])
def limit(request: pytest.FixtureRequest) -> Iterator[type[Exception]]:
    """What a signal raises. Python itself drops it in the middle of a finalizer, so not more than a
    few are raised that reach nobody."""
    raised = 0

    def end(number: int, frame: object) -> None:
        nonlocal raised
        raised += 1
        raise request.param("over")

    former = signal.signal(signal.SIGALRM, end)
    yield request.param
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)
    assert raised <= TURNS + 5


@pytest.mark.parametrize(
    "manager",
    [
        "memcached_manager",
        pytest.param("redis_manager", marks=pytest.mark.slow),
        pytest.param("redis_cluster_manager", marks=pytest.mark.slow),
    ],
    indirect=True,
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_time_limit_reaches_the_caller_at_whatever_moment(
    manager: Manager, calls: Calls, limit: type[Exception]
) -> None:
    cache = manager()

    @cache.region("functions", tags=["all"])
    def load(number: int) -> tuple[int, int]:
        return number, calls()

    chance = random.Random(1)
    for turn in range(TURNS):
        with pytest.raises(limit, match="over"):
            _use_until(cache, load, chance.uniform(0.0001, 0.01))
        signal.setitimer(signal.ITIMER_REAL, 0)
        # Nobody's answer is left, and nothing that was invalidated comes back.
        before = calls.count
        cache.invalidate_tags("all")
        for number in range(3):
            assert load(number)[0] == number
            assert load(number)[1] > before, turn


def _use_until(cache: CacheManager, load: object, seconds: float) -> None:
    counter = cache.counter("functions", "counter")
    values = cache.values("functions", "values", expire=60)
    ends = time.monotonic() + 60
    signal.setitimer(signal.ITIMER_REAL, seconds, 5)
    while time.monotonic() < ends:
        for number in range(3):
            assert load(number)[0] == number  # type: ignore[operator]
        load.invalidate(1)  # type: ignore[attr-defined]
        load.many([1, 2, 3])  # type: ignore[attr-defined]
        counter.add()
        values.set(1, "value")
        cache.invalidate_tags("all")
    pytest.fail("it was swallowed")


def limited(call: Callable[[], object]) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    call()


def test_a_time_limit_while_a_file_is_read_reaches_the_caller(
    file_manager: Manager, tmp_path: Path, calls: Calls, limit: type[Exception]
) -> None:
    cache = file_manager()

    @cache.region("functions")
    def load() -> int:
        return calls()

    load()
    (stored,) = (path for path in tmp_path.rglob("entries/**/*") if path.is_file())
    stored.unlink()
    os.mkfifo(stored)  # opening it hangs, as a network's file system may
    with pytest.raises(limit, match="over"):
        limited(load)


class Slow:
    """A value that takes long to pickle."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        time.sleep(60)
        return Slow, ()


@pytest.mark.parametrize("updates", [False, True], ids=["set", "update"])
def test_a_time_limit_while_a_value_is_pickled_reaches_the_caller(
    file_manager: Manager, limit: type[Exception], updates: bool
) -> None:
    values = file_manager().values("functions", "values", expire=60)

    def use() -> None:
        values.update("key", lambda _: Slow()) if updates else values.set("key", Slow())

    with pytest.raises(limit, match="over"):
        limited(use)
    assert values.set("key", "value"), "nothing is locked any more"


class Unpicklable:
    def __reduce__(self) -> str:
        raise OSError("of the application")


def broken() -> Iterator[bytes]:
    yield b"some content"
    raise OSError("of the application")


def fail(_: object) -> object:
    raise OSError("of the application")


def test_an_oserror_of_the_application_is_no_failure_of_the_store(file_manager: Manager) -> None:
    cache = file_manager()
    load = cache.region("functions")(broken)
    values = cache.values("functions", "values", expire=60)
    for use in (
        load,
        lambda: values.set("key", Unpicklable()),
        lambda: values.update("key", lambda _: Unpicklable()),
        lambda: values.update("key", fail),
    ):
        with pytest.raises(OSError, match="of the application"):
            use()
        assert cache["functions"].stats.snapshot() == {
            "load_errors": 1,
            "missed.first": 1,
            "misses": 1,
        }


def test_a_time_limit_while_a_region_gets_its_files_reaches_the_caller(
    file_manager: Manager, calls: Calls, limit: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve, reserved = os.posix_fallocate, set()

    def reserve_until_the_limit(descriptor: int, start: int, size: int) -> None:
        reserve(descriptor, start, size)
        if size not in reserved:
            reserved.add(size)
            signal.raise_signal(signal.SIGALRM)

    load = file_manager().region("functions", "numbers")(calls)
    monkeypatch.setattr(os, "posix_fallocate", reserve_until_the_limit)
    for _ in range(3):  # the table of generations, the counters, the memory of loads
        with pytest.raises(limit, match="over"):
            load()
    assert load() == load() == calls.count
    assert len(reserved) == 3
