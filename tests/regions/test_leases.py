"""One load at a time for an entry, and nothing but that: leases, in processes and threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.regions.conftest import Calls, Manager, make_manager

if TYPE_CHECKING:
    from collections.abc import Callable

    from regions import CacheManager

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])

CALLERS = 8
LONG = 10.0
"""Seconds; longer than any test."""


@pytest.fixture(params=["file", "cluster", "memcached"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
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


def test_processes_that_call_at_once_load_once(options: dict[str, Any]) -> None:
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
    assert len(results) == 1, "all got what the one of them loaded"


def test_threads_that_call_at_once_load_once(options: dict[str, Any], calls: Calls) -> None:
    start = threading.Barrier(CALLERS)

    def load() -> int:
        time.sleep(0.1)
        return calls()

    cache = make_manager(**options)
    number = decorated(cache, load)

    def call(_: int) -> int:
        start.wait()
        result: int = number()
        return result

    with ThreadPoolExecutor(CALLERS) as threads:
        assert list(threads.map(call, range(CALLERS))) == [1] * CALLERS
    assert cache["functions"].stats["waits"] > 0


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


def test_a_load_that_overruns_its_lease_harms_nothing(
    options: dict[str, Any], calls: Calls
) -> None:
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
        assert number() == 2, "nobody waits longer than a lease"
        number.invalidate()
        assert number() == 3
        proceed.set()
        assert slow.result() == 1, "its caller called before the invalidation"
    assert number() > 1
    number.invalidate()
    assert (number(), number()) == (calls.count, calls.count)


def test_a_folder_that_is_emptied_takes_no_lease_with_it(
    file_manager: Manager, tmp_path: Any, calls: Calls
) -> None:
    """Emptying the folder is how people empty it; one load at a time holds afterwards too."""
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
