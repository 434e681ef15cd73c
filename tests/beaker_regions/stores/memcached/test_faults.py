"""Single faults of a server, and what they may cost; the table of outages is in test_outages."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.beaker_regions.conftest import Calls, Manager, failures
from tests.beaker_regions.stores.proxies import Proxy, forward
from tests.servers import Memcached
from tests.waiting import stored_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beaker_regions import CacheManager

LONG = 600
"""Seconds; longer than any test."""


@pytest.fixture(autouse=True)
def _no_call_goes_on_for_ever() -> Iterator[None]:
    def give_up(number: int, frame: object) -> None:
        pytest.fail("a call does not end")

    former = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)


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


def test_a_host_without_an_address(
    connected: Manager, calls: Calls, one_line_a_kind: Callable[[CacheManager], None]
) -> None:
    cache = connected("nowhere.invalid:11211", retry=LONG)
    use(cache, calls)
    one_line_a_kind(cache)


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


@pytest.mark.parametrize("way", ["call", "many", "peek"])
def test_a_hung_server_is_asked_once(
    connected: Manager,
    server: Memcached,
    one_line_a_kind: Callable[[CacheManager], None],
    way: str,
) -> None:
    with hung(connected, server) as (cache, load, asked):
        for row in [0, 1, 2] * 30:
            if way == "call":
                assert load(row) == row
            elif way == "many":
                assert load.many([row, 1]) == [row, 1]
            else:
                assert load.peek(row) is None
        one_line_a_kind(cache)
        assert asked() == 1


@pytest.mark.parametrize("way", ["invalidate", "invalidate_all", "refresh"])
def test_a_hung_server_gets_each_invalidation_once(
    connected: Manager, server: Memcached, way: str
) -> None:
    with hung(connected, server) as (_, load, asked):
        invalidations = 5
        for row in range(invalidations):
            getattr(load, way)(*() if way == "invalidate_all" else (row,))
        # Each with a connection, and one may be made twice if this machine is slow.
        assert asked() < 3 * invalidations


@contextlib.contextmanager
def hung(
    connected: Manager, server: Memcached
) -> Iterator[tuple[CacheManager, Any, Callable[[], int]]]:
    """Hang a server that was used. Gives a function, and how often the server has been asked for
    something or connected to since."""
    proxy = Proxy(server.port)
    cache = connected(proxy.address, timeout=0.05, retry=LONG)

    @cache.region("functions")
    def load(row: int) -> int:
        return row

    load(0)
    server.pause()
    before = len(proxy.requests) + proxy.connections
    yield cache, load, lambda: len(proxy.requests) + proxy.connections - before
    proxy.close()


def test_a_lease_whose_answer_was_lost_is_not_waited_for(
    connected: Manager,
    proxy: Proxy,
    calls: Calls,
    one_line_a_kind: Callable[[CacheManager], None],
) -> None:
    cache = connected(proxy.address)

    @cache.region("functions")
    def load(number: int) -> int:
        return calls()

    assert load(1) == 1

    def halve_one_answer(request: str) -> None:
        if request.startswith("add"):
            proxy.halves, proxy.answer = 1, forward

    proxy.answer = halve_one_answer
    assert load(2) == 2
    one_line_a_kind(cache)
    assert cache["functions"].stats["waits"] == 0, "nobody else has the lease"


def test_a_process_that_ends_while_it_takes_a_lease_leaves_no_lease(
    connected: Manager, proxy: Proxy, memcached: Memcached, calls: Calls
) -> None:
    cache = connected(proxy.address)

    @cache.region("functions")
    def load() -> int:
        return calls()

    def end(number: int, frame: object) -> None:
        raise SystemExit

    def give_and_signal(request: str) -> None:
        if request.startswith("add brg1:l"):
            proxy.answer = forward
            lease = "x" * int(request.split()[4])
            assert memcached.ask(f"{request}\r\n{lease}") == b"STORED\r\n"
            os.kill(os.getpid(), signal.SIGUSR1)

    former = signal.signal(signal.SIGUSR1, end)
    try:
        proxy.answer = give_and_signal
        with pytest.raises(SystemExit):
            load()
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert load() == 1
    assert cache["functions"].stats["waits"] == 0, "nobody has the lease"


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
    proxy: Proxy,
    calls: Calls,
    one_line_a_kind: Callable[[CacheManager], None],
    command: str,
    answer: bytes,
) -> None:
    cache = connected(proxy.address, timeout=0.05, retry=LONG, lease=0.2)
    proxy.answer = lambda request: answer if request.startswith(command) else None
    use(cache, calls)
    one_line_a_kind(cache)
    assert command != "add" or cache["functions"].stats["waits"] == 0, (
        "a failure is not somebody else's lease"
    )


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


def test_an_answer_that_came_late_belongs_to_no_request(
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

    def interrupt_and_resume() -> None:
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGUSR1)
        # A library in C is interrupted when it has its answer.
        time.sleep(0.1)
        server.resume()

    def ask() -> None:
        interrupting.start()
        mine()

    former = signal.signal(signal.SIGUSR1, interrupt)
    interrupting = threading.Thread(target=interrupt_and_resume)
    try:
        server.pause()
        with pytest.raises(Interrupted):
            ask()
    finally:
        interrupting.join()
        signal.signal(signal.SIGUSR1, former)
    theirs.invalidate()
    assert mine() == 2
    assert mine() == theirs() == 2


# -- values made of others ---------------------------------------------------------------------


def test_a_value_is_no_older_than_its_part_from_another_server(
    connected: Manager, memcached: Memcached, own_memcached: Memcached
) -> None:
    """Between the invalidations of two servers, a load may begin on the one, and read on the
    other."""
    proxies = [Proxy(server.port) for server in (memcached, own_memcached)]
    cache = connected(",".join(proxy.address for proxy in proxies), timeout=5)
    truth = [0]

    @cache.region("functions", tags=["truth"])
    def inner(number: int) -> int:
        return truth[0]

    @cache.region("functions", tags=["truth"])
    def outer(number: int, of: int) -> int:
        return inner(of)

    pairs = [(number, of) for number in range(4) for of in range(4)]

    def read() -> set[int]:
        return {outer(*pair) for pair in pairs}

    def read_between(request: str) -> None:
        # Only who invalidates does anything but fetch and add with these.
        if " brg1:t" in request and not request.startswith(("get ", "add ")):
            moments.append(request)
            reader = threading.Thread(target=read)
            reader.start()
            reader.join()

    moments: list[str] = []
    assert read() == {0}
    for proxy in proxies:
        proxy.answer = read_between
    for _ in range(3):
        truth[0] += 1
        cache.invalidate_tags("truth")
        assert read() == {truth[0]}
    assert len(moments) >= 12, "both servers are invalidated, and one of them twice"


def test_values_are_stored_again_after_an_invalidation_that_came_to_no_end(
    connected: Manager, memcached: Memcached, own_memcached: Memcached
) -> None:
    """As that of a process which is killed between its two rounds."""
    proxies = [Proxy(server.port) for server in (memcached, own_memcached)]
    cache = connected(",".join(proxy.address for proxy in proxies), timeout=5)
    loads = Calls()

    @cache.region("functions", tags=["truth"])
    def load(number: int) -> int:
        return loads()

    def read() -> list[int]:
        return [load(number) for number in range(8)]

    first = read()
    for proxy in proxies:
        proxy.answer = lambda request: b"" if " brg1:t" in request and "gets" in request else None
    cache.invalidate_tags("truth")
    assert not set(read()) & set(first)
    stored_value(read)
