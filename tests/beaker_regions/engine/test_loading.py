"""One load at a time for an entry: leases, in processes and threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions.engine import invalidation
from tests.beaker_regions.conftest import (
    ON_REDIS,
    REDIS_TYPES,
    Calls,
    Manager,
    make_manager,
    redis_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from beaker_regions import CacheManager

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])

CALLERS = 8
ATTEMPTS = 10
"""On a busy machine, waiting callers may not look up the value in time."""
LONG = 60.0
"""Seconds; longer than any test."""


@pytest.fixture(params=["file", "cluster", "memcached", *ON_REDIS])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param in REDIS_TYPES:
        return redis_options(request)
    servers = {}
    if request.param != "file":
        servers = {"url": request.getfixturevalue("memcached").address, "timeout": 10}
    own = {"type": "ext:memcached", **servers}
    if request.param != "memcached":
        own = {"type": "file", "data_dir": request.getfixturevalue("tmp_path")}
    if request.param == "cluster":
        own |= {"cluster": "servers", "servers": servers}
    return {**own, "secret": "of the tests"}


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def decorated(cache: CacheManager, load: Callable[[], Any]) -> Any:
    @cache.region("functions", key=lambda: "one")
    def number() -> Any:
        return load()

    return number


def call_at_once(options: dict[str, Any], start: Any, loads: Any, report: Any) -> None:
    def load() -> int:
        with loads.get_lock():
            loads.value += 1
        time.sleep(0.2)
        return os.getpid()

    number = decorated(make_manager(**options), load)
    start.wait()
    report.put(number())


def test_simultaneous_calls_of_processes_load_once(options: dict[str, Any]) -> None:
    start, loads = processes.Barrier(CALLERS), processes.Value("i", 0)
    report = processes.Queue()
    callers = [
        processes.Process(target=call_at_once, args=(options, start, loads, report))
        for _ in range(CALLERS)
    ]
    for caller in callers:
        caller.start()
    results = {report.get() for _ in callers}
    for caller in callers:
        caller.join()
    assert loads.value == 1
    assert len(results) == 1, "all callers got the value of the one load"


def test_simultaneous_calls_of_threads_load_once(options: dict[str, Any], calls: Calls) -> None:
    start = threading.Barrier(CALLERS)

    def load() -> int:
        until(lambda: cache["functions"].stats["waits"])
        return calls()

    cache = make_manager(**options, lease=LONG)
    number = decorated(cache, load)

    def call(_: int) -> int:
        start.wait()
        result: int = number()
        return result

    with ThreadPoolExecutor(CALLERS) as threads:
        assert list(threads.map(call, range(CALLERS))) == [1] * CALLERS


def load_for_ever(options: dict[str, Any], loading: Any) -> None:
    def load() -> None:
        loading.set()
        time.sleep(LONG)

    decorated(make_manager(**options), load)()


def test_a_loader_that_is_killed_is_replaced(options: dict[str, Any], calls: Calls) -> None:
    options["lease"] = 1
    loading = processes.Event()
    loader = processes.Process(target=load_for_ever, args=(options, loading))
    loader.start()
    assert loading.wait(LONG)
    assert loader.pid is not None
    os.kill(loader.pid, signal.SIGKILL)
    loader.join()
    number = decorated(make_manager(**options), calls)
    assert (number(), number()) == (1, 1)


def test_an_exception_reaches_its_caller_and_the_next_one_loads(
    options: dict[str, Any], calls: Calls
) -> None:
    failing, waiting = threading.Event(), threading.Event()

    def load() -> int:
        if calls() == 1:
            failing.set()
            assert waiting.wait(LONG)
            raise LookupError("not yet")
        return calls.count

    cache = make_manager(**options, lease=LONG)
    number = decorated(cache, load)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(number)
        assert failing.wait(LONG)
        second = threads.submit(number)
        until(lambda: cache["functions"].stats["waits"])
        waiting.set()
        with pytest.raises(LookupError, match="not yet"):
            first.result()
        assert second.result() == 2
    assert number() == 2


def test_a_load_longer_than_its_lease_does_no_harm(options: dict[str, Any], calls: Calls) -> None:
    proceed = threading.Event()

    def load() -> int:
        mine = calls()
        if mine == 1:
            assert proceed.wait(LONG)
        return mine

    number = decorated(make_manager(**options, lease=0.05), load)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(number)
        until(lambda: calls.count)
        assert number() == 2, "no caller waits longer than a lease"
        number.invalidate()
        assert number() == 3
        proceed.set()
        assert slow.result() == 1, "its caller called before the invalidation"
    assert number() > 1
    number.invalidate()
    assert (number(), number()) == (calls.count, calls.count)


def run_at_once(count: int, call: Callable[[], Any]) -> list[Any]:
    """Make calls at once. Return their values, or the exceptions that they raise."""
    start = threading.Barrier(count)

    def run(_: int) -> Any:
        start.wait()
        try:
            return call()
        except LookupError as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


@pytest.mark.parametrize("often", [False, True], ids=["slower than lookups", "faster than lookups"])
def test_a_waiting_caller_gets_a_value_that_was_current_during_its_call(
    options: dict[str, Any], calls: Calls, often: bool
) -> None:
    """Each load is invalidated before it ends, so no stored value is ever current."""
    cache = make_manager(**options, lease=LONG)

    def load() -> int:
        mine = calls()
        if often:
            # No other caller sees the generations of its start.
            number.invalidate()
        time.sleep(0.3)
        number.invalidate()
        return mine

    number = decorated(cache, load)
    for _ in range(ATTEMPTS):
        before = calls.count
        values = run_at_once(CALLERS, number)
        assert set(values) <= set(range(before + 1, calls.count + 1))
        if calls.count - before <= 3:
            break
    else:
        pytest.fail("each caller loads, one after the other")
    before = calls.count
    assert number() > before, "no other caller takes it"


def test_a_caller_with_an_open_transaction_gets_only_current_values(
    options: dict[str, Any], calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    class InTransaction(invalidation.NoTransactions):
        def active(self) -> bool:
            return threading.current_thread() is threading.main_thread()

    monkeypatch.setattr(invalidation, "transactions", InTransaction())
    loading, proceed = threading.Event(), threading.Event()

    def load() -> int:
        mine = calls()
        if mine == 1:
            loading.set()
            assert proceed.wait(LONG)
        return mine

    number = decorated(make_manager(**options, lease=LONG), load)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(number)
        assert loading.wait(LONG)
        assert number() == 2, "it does not wait"
        proceed.set()
        assert slow.result() == 1


def call_slowly(options: dict[str, Any], start: Any, loads: Any, report: Any) -> None:
    def load() -> int:
        with loads.get_lock():
            loads.value += 1
        time.sleep(2.5)
        return 1

    number = decorated(make_manager(**options), load)
    start.wait()
    for value in run_at_once(4, number):
        report.put(value)


def test_not_all_callers_repeat_a_load_longer_than_its_lease(options: dict[str, Any]) -> None:
    """One waiting caller takes the lease over, and the others wait for it, for longer."""
    options["lease"] = 1.0
    start, loads, report = processes.Barrier(3), processes.Value("i", 0), processes.Queue()
    callers = [
        processes.Process(target=call_slowly, args=(options, start, loads, report))
        for _ in range(3)
    ]
    for caller in callers:
        caller.start()
    assert [report.get() for _ in range(12)] == [1] * 12
    for caller in callers:
        caller.join()
    # The first loader, and those that took over: more of them if this machine is slow.
    assert loads.value <= 6


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_one_waiting_caller_replaces_a_loader_that_dies_or_is_stopped(
    options: dict[str, Any], calls: Calls, how: signal.Signals
) -> None:
    options["lease"] = 2.0
    loading = processes.Event()
    loader = processes.Process(target=load_for_ever, args=(options, loading))
    loader.start()
    assert loading.wait(LONG)
    assert loader.pid is not None
    os.kill(loader.pid, how)

    def load() -> int:
        time.sleep(0.5)
        return calls()

    number = decorated(make_manager(**options), load)
    try:
        assert run_at_once(CALLERS, number) == [1] * CALLERS
        number.invalidate()
        began = time.monotonic()
        assert number() == 2
        assert time.monotonic() - began < LONG
    finally:
        loader.kill()
        loader.join()


def test_callers_of_failing_loads_do_not_run_one_after_the_other(
    options: dict[str, Any], calls: Calls
) -> None:
    running = 0
    lock, are_many = threading.Lock(), threading.Event()

    def load() -> None:
        nonlocal running
        number = calls()
        with lock:
            running += 1
            if running > 10:
                are_many.set()
        if number <= 2:
            time.sleep(0.3)
        elif not are_many.wait(LONG / 2):
            are_many.set()
            pytest.fail("they run one after the other")
        with lock:
            running -= 1
        raise LookupError(f"the call no. {number}")

    failures = run_at_once(20, decorated(make_manager(**options, lease=LONG), load))
    assert [type(each) for each in failures] == [LookupError] * 20
    assert calls.count == len({str(each) for each in failures}) == 20, "each has its own"
    assert are_many.is_set(), "a caller that has waited for two loads waits no more"


def test_a_caller_that_waits_for_a_failed_load_gets_the_next_loads_value(
    options: dict[str, Any], calls: Calls
) -> None:
    def load() -> int:
        mine = calls()
        time.sleep(0.3)
        if mine == 1:
            raise LookupError("once")
        return mine

    results = run_at_once(CALLERS, decorated(make_manager(**options, lease=LONG), load))
    assert sorted(map(str, results)) == ["2"] * (CALLERS - 1) + ["once"]


def test_leases_survive_the_emptying_of_the_folder(
    file_manager: Manager, tmp_path: Any, calls: Calls
) -> None:
    """People empty a cache by emptying its folder. Afterwards there is still one load at a time."""
    options = {"type": "file", "data_dir": tmp_path / "regions", "secret": "of the tests"}

    loading = threading.Event()

    def load() -> int:
        loading.set()
        time.sleep(0.5)
        return calls()

    cache = file_manager()
    number = decorated(cache, load)
    assert number() == 1
    for path in sorted((tmp_path / "regions").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    loading.clear()
    start, loads, report = processes.Barrier(1), processes.Value("i", 0), processes.Queue()
    with ThreadPoolExecutor(1) as threads:
        mine = threads.submit(number)
        assert loading.wait(LONG)
        other = processes.Process(target=call_at_once, args=(options, start, loads, report))
        other.start()
        assert report.get() == mine.result() == 2
        other.join()
    assert loads.value == 0
