"""The server's failure is never the caller's, and no invalidation gets lost by it."""

from __future__ import annotations

import collections
import logging
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.regions.backends.proxies import Answer, Proxy, forward
from tests.regions.conftest import Calls, Manager
from tests.servers import Memcached, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from regions import CacheManager

LONG = 60
"""Seconds; longer than any test."""


@pytest.fixture(autouse=True)
def _no_call_goes_on_for_ever() -> Iterator[None]:
    def give_up(number: int, frame: object) -> None:
        pytest.fail("a call does not end")

    former = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)


def failures(cache: CacheManager) -> dict[str, int]:
    counts = cache["functions"].stats.snapshot()
    return {event: count for event, count in counts.items() if event.startswith("failed.")}


@pytest.fixture
def one_line_a_kind(caplog: pytest.LogCaptureFixture) -> Callable[[CacheManager], None]:
    """Check that what was counted was also logged, each kind once."""
    caplog.set_level(logging.WARNING, "regions")

    def check(cache: CacheManager) -> None:
        counted = failures(cache)
        assert counted
        lines = [record.getMessage() for record in caplog.records]
        for event in counted:
            kind = event.removeprefix("failed.")
            assert len([line for line in lines if f": {kind}: " in line]) == 1, lines
        assert len(lines) == len(counted)

    return check


def use(cache: CacheManager, calls: Calls) -> None:
    """Do everything that can be done with a function, whatever the server does."""

    @cache.region("functions", tags=["all"])
    def load(number: int) -> tuple[int, int]:
        return number, calls()

    for number in range(5):
        before = calls.count
        assert load(number) == (number, before + 1)
        assert load.refresh(number) == (number, before + 2)
        assert load.peek(number) in (None, (number, before + 2))
        load.invalidate(number)
        assert load(number) == (number, before + 3)
        load.invalidate_all()
        cache.invalidate_tags("all")
        cache.invalidate_region("functions")
        cache.region_invalidate(load, "functions", number)


# -- a server that is away --------------------------------------------------------------------


def test_a_server_that_refuses_connections(
    connected: Manager, calls: Calls, one_line_a_kind: Callable[[CacheManager], None]
) -> None:
    cache = connected(f"127.0.0.1:{free_port()}", retry=LONG)
    use(cache, calls)
    one_line_a_kind(cache)


def test_a_host_without_an_address(
    connected: Manager, calls: Calls, one_line_a_kind: Callable[[CacheManager], None]
) -> None:
    cache = connected("nowhere.invalid:11211", retry=LONG)
    use(cache, calls)
    one_line_a_kind(cache)


def test_a_server_that_is_killed_and_comes_back(
    connected: Manager,
    server: Memcached,
    calls: Calls,
    one_line_a_kind: Callable[[CacheManager], None],
) -> None:
    cache = connected(server.address, retry=0.01)
    use(cache, calls)
    assert not failures(cache)
    server.kill()
    use(cache, calls)
    one_line_a_kind(cache)
    server.start()
    until_it_hits(cache)


def until_it_hits(cache: CacheManager) -> None:
    """Call until values are kept again."""

    @cache.region("functions")
    def number() -> int:
        return 1

    before = cache["functions"].stats["hits"]
    for _ in range(1000):
        number()
        if cache["functions"].stats["hits"] > before:
            return
        time.sleep(0.01)
    raise AssertionError("the server is back and not used")


def test_a_restart_between_two_calls_is_no_failure(
    connected: Manager, server: Memcached, calls: Calls
) -> None:
    cache = connected(server.address)

    @cache.region("functions")
    def load() -> int:
        return calls()

    assert (load(), load()) == (1, 1)
    server.restart()
    assert (load(), load()) == (2, 2)
    server.restart()
    load.invalidate()
    assert (load(), load()) == (3, 3)
    assert not failures(cache)


def test_a_server_that_hangs_is_left_alone(
    connected: Manager,
    server: Memcached,
    calls: Calls,
    one_line_a_kind: Callable[[CacheManager], None],
) -> None:
    proxy = Proxy(server.port)
    cache = connected(proxy.address, timeout=0.05, retry=LONG)

    @cache.region("functions")
    def load(number: int) -> int:
        return calls()

    load(0)
    server.pause()
    asked, connections = len(proxy.requests), proxy.connections
    assert [load(number % 3) for number in range(100)] == list(range(2, 102))
    one_line_a_kind(cache)
    assert len(proxy.requests) - asked + proxy.connections - connections <= 3
    proxy.close()


def test_a_server_that_hung_is_used_again(connected: Manager, server: Memcached) -> None:
    cache = connected(server.address, timeout=0.05, retry=0.1)

    @cache.region("functions")
    def load() -> int:
        return 1

    load()
    server.pause()
    for _ in range(10):
        assert load() == 1
    server.resume()
    until_it_hits(cache)


# -- answers that are not the protocol's ------------------------------------------------------

ANSWERS = {
    "nothing": b"",
    "half a line": b"VAL",
    "half an answer": b"VALUE brg1:a 0 100\r\nhalf",
    "an error": b"ERROR\r\n",
    "a server's error": b"SERVER_ERROR out of memory storing object\r\n",
    "a client's error": b"CLIENT_ERROR bad command line format\r\n",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "noise": bytes(range(256)) + b"\r\n",
    "a negative size": b"VALUE brg1:a 0 -20\r\nEND\r\n",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("command", ["get", "add", "set", "delete", ""], ids=lambda c: c or "all")
def test_bad_answers(
    connected: Manager,
    client: str,
    proxy: Proxy,
    calls: Calls,
    one_line_a_kind: Callable[[CacheManager], None],
    command: str,
    answer: bytes,
) -> None:
    cache = connected(proxy.address, timeout=0.05, retry=LONG, lease=0.2)
    proxy.answer = lambda request: answer if request.startswith(command) else None
    use(cache, calls)
    # libmemcached takes some of these for misses, and says nothing.
    if client == "memcache" or not (command == "get" or answer == ANSWERS["a negative size"]):
        one_line_a_kind(cache)
        assert command != "add" or cache["functions"].stats["waits"] == 0, (
            "a failure is not somebody else's lease"
        )


def fill(server: Memcached) -> None:
    """Leave no room for an item of any size that is used here."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        for size in range(8, 600, 16):
            value = b"x" * size
            for number in range(1_200_000 // (size + 50)):
                key = b"%d-%d" % (size, number)
                connection.sendall(b"set %b 0 0 %d noreply\r\n%b\r\n" % (key, size, value))
    assert b"out of memory" in server.ask("set k 0 0 5\r\nvalue")


def test_a_full_server(
    connected: Manager, calls: Calls, one_line_a_kind: Callable[[CacheManager], None]
) -> None:
    server = Memcached("-M", "-m", "2")
    server.start()
    try:
        fill(server)
        cache = connected(server.address, lease=0.2)
        use(cache, calls)
        assert cache["functions"].stats["waits"] == 0
        one_line_a_kind(cache)
    finally:
        server.kill()


def test_a_value_over_the_servers_limit_is_never_lost_silently(
    connected: Manager,
    memcached: Memcached,
    calls: Calls,
    one_line_a_kind: Callable[[CacheManager], None],
) -> None:
    cache = connected(memcached.address)

    @cache.region("functions")
    def load(size: int) -> bytes:
        calls()
        return os.urandom(size)

    for _ in range(3):
        assert len(load(3_000_000)) == 3_000_000
    if calls.count > 1:
        one_line_a_kind(cache)


# -- invalidations that could not be delivered -------------------------------------------------


def cut(request: str) -> bytes:
    """Close the connection instead of an answer."""
    return b""


def refuse(request: str) -> bytes | None:
    return b"SERVER_ERROR busy\r\n" if request.startswith("delete") else None


@pytest.mark.parametrize("answer", [cut, refuse])
def test_what_could_not_be_invalidated_is_before_the_server_is_trusted_again(
    connected: Manager, proxy: Proxy, calls: Calls, answer: Answer
) -> None:
    cache = connected(proxy.address, retry=0.01)
    values: dict[str, int] = collections.defaultdict(int)

    def of(name: str) -> Any:
        @cache.region("functions", name, tags=[name])
        def load() -> int:
            return values[name]

        return load

    loads = {name: of(name) for name in ("entry", "function", "tag", "beaker", "other")}
    assert [load() for load in loads.values()] == [0] * 5
    proxy.answer = answer
    values.update(dict.fromkeys(loads, 1))
    loads["entry"].invalidate()
    loads["function"].invalidate_all()
    cache.invalidate_tags("tag")
    cache.region_invalidate(loads["beaker"], "functions", "beaker")
    assert failures(cache)
    proxy.answer = forward
    hits = cache["functions"].stats["hits"]
    for _ in range(100):
        found = {name: load() for name, load in loads.items()}
        assert {**found, "other": 1} == values, "other was not invalidated"
        time.sleep(0.002)
    assert cache["functions"].stats["hits"] > hits


def test_an_invalidation_while_the_server_hangs_is_not_lost(
    connected: Manager, server: Memcached, calls: Calls
) -> None:
    cache = connected(server.address, timeout=0.05, retry=0.05)

    @cache.region("functions")
    def load() -> int:
        return calls()

    assert (load(), load()) == (1, 1)
    server.pause()
    load.invalidate()
    assert failures(cache)
    server.resume()
    assert load() > 1
    until_it_hits(cache)
    assert load() > 1


def test_an_answer_that_came_late_is_nobodys(
    connected: Manager, server: Memcached, calls: Calls
) -> None:
    """A request that a signal cut short must not leave its answer to the next one."""
    cache = connected(server.address)
    other = connected(server.address, retry=2.5)  # a connection of its own

    def load() -> int:
        return calls()

    mine, theirs = (each.region("functions")(load) for each in (cache, other))
    assert mine() == mine() == 1

    class Interrupted(BaseException):
        pass

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    former = signal.signal(signal.SIGALRM, interrupt)
    resume = threading.Timer(0.2, server.resume)
    try:
        server.pause()
        resume.start()
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Interrupted):
            mine()
    finally:
        signal.signal(signal.SIGALRM, former)
        resume.join()
    theirs.invalidate()
    assert mine() == 2
    assert mine() == theirs() == 2
