"""The connections of event loops: requests of many tasks share one, and no answer goes astray."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from beaker_regions.entries.records import SHORT
from beaker_regions.runtime import threads
from beaker_regions.stores.memcached import wire
from beaker_regions.stores.servers.limited_socket import LimitedSocket
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import Calls, failures, make_manager
from tests.beaker_regions.stores.proxies import Proxy, Relay
from tests.servers import Memcached

if TYPE_CHECKING:
    from beaker_regions import CacheManager

LONG = 60.0
"""Seconds; longer than any test."""

Main = Callable[[Coroutine[Any, Any, Any]], Any]
Load = Callable[[int], Coroutine[Any, Any, Any]]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Main:
    """Run a coroutine in an event loop of its own."""
    return uvloop.run if request.param == "uvloop" else asyncio.run


class HeldAnswers(Relay):
    """Passes on at once what clients send; holds the answers to the event loop's requests while
    ``is_held`` is cleared."""

    def __init__(self, port: int) -> None:
        self.proceed = threading.Event()
        self.proceed.set()
        self.held = threading.Event()
        super().__init__(port)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        threading.Thread(target=self._send_back, args=(server, client), daemon=True).start()
        while received := client.recv(1 << 16):
            server.sendall(received)

    def _send_back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while received := server.recv(1 << 16):
                if received.startswith(b"VALUE") and not self.proceed.is_set():
                    self.held.set()
                    self.proceed.wait(LONG)
                client.sendall(received)


def region(address: str | list[str], **options: Any) -> CacheManager:
    """Return a manager of a region on memcached. A machine that is busy with tests is no fault."""
    given = {"timeout": 5, "secret": "of the tests", **options}
    return make_manager(type="ext:memcached", url=address, **given)


def numbers(cache: CacheManager, calls: Calls | None = None) -> Any:
    """Return a cached coroutine function of a number, which returns the number and its call's."""

    @cache.region("functions")
    async def load(number: int) -> tuple[int, int]:
        return number, calls() if calls else 0

    return load


def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def do(work: Callable[[], object]) -> None:
        raise AssertionError("a thread was asked")

    monkeypatch.setattr(threads.of_coroutines, "do", do)
    monkeypatch.setattr(threads, "do_apart", do)


async def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


# -- hits ------------------------------------------------------------------------------------------


def test_the_hits_of_many_tasks_are_few_requests_and_take_no_thread(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, run: Main
) -> None:
    load = numbers(region(proxy.address))

    async def main() -> None:
        assert await load.many(range(30)) == [(number, 0) for number in range(30)]
        no_thread(monkeypatch)
        proxy.requests.clear()
        assert await load(7) == await load.peek(7) == (7, 0)
        assert len(proxy.requests) == 2
        found = await asyncio.gather(*map(load, range(30)))
        assert found == [(number, 0) for number in range(30)]
        # The first tasks do not wait for the others, which share a request.
        assert len(proxy.requests) < 15
        assert await load.many(range(30)) == found

    run(main())


def test_a_task_that_only_hits_lets_the_others_run(
    memcached: Memcached, monkeypatch: pytest.MonkeyPatch, run: Main
) -> None:
    class AnsweredAtOnce(LimitedSocket):
        def send(self, *request: Any) -> int:
            sent = super().send(*request)
            select.select([self], [], [])
            return sent

    monkeypatch.setattr(wire, "LimitedSocket", AnsweredAtOnce)
    load = numbers(region(memcached.address))

    async def main() -> None:
        assert await load(1) == (1, 0)
        other = asyncio.create_task(asyncio.sleep(0.001))
        for _ in range(100_000):
            assert await load(1) == (1, 0)
            if other.done():
                return
        pytest.fail("the other task did not run")

    run(main())


@pytest.mark.parametrize("size", [SHORT // 2, 2 * SHORT, 3_000_000])
def test_a_value_of_any_size_is_a_hit(memcached: Memcached, calls: Calls, size: int) -> None:
    cache = region(memcached.address)
    value = bytes(range(256)) * (size // 256)

    @cache.region("functions")
    async def load() -> bytes:
        calls()
        return value

    async def main() -> None:
        assert await load() == await load() == value
        assert await load.many([(), ()]) == [value, value]

    asyncio.run(main())
    assert calls.count == 1
    assert not failures(cache)


def test_functions_that_depend_on_their_queries_hit_without_a_thread(
    memcached: Memcached, monkeypatch: pytest.MonkeyPatch, calls: Calls
) -> None:
    from beaker_regions.engine import reads

    monkeypatch.setattr(reads, "_note_queries", lambda: None)
    cache = region(memcached.address)

    @cache.region("functions", depends_on="queries")
    async def load() -> int:
        noted = reads.current_reads()
        assert noted is not None
        await asyncio.to_thread(noted.note_tags, ["a table"])
        return calls()

    async def main() -> None:
        assert await load() == await load() == 1
        with monkeypatch.context() as patch:
            no_thread(patch)
            assert await load() == 1
        await asyncio.to_thread(cache.invalidate_tags, "a table")
        assert await load() == 2

    asyncio.run(main())


# -- answers go to whom they belong ----------------------------------------------------------------


def test_the_answer_to_a_cancelled_task_is_not_the_next_tasks(
    memcached: Memcached, run: Main
) -> None:
    relay = HeldAnswers(memcached.port)
    cache = region(relay.address)
    load = numbers(cache)

    async def main() -> None:
        await load.many(range(3))
        assert await load(0) == (0, 0)
        relay.proceed.clear()
        cancelled = asyncio.create_task(load(1))
        await until(relay.held.is_set)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        waiting = asyncio.create_task(load(2))
        await asyncio.sleep(0)
        relay.proceed.set()
        assert await waiting == (2, 0)
        assert await load(1) == (1, 0)

    run(main())
    relay.close()
    assert not failures(cache)


def test_a_call_does_not_take_the_answer_to_a_request_that_was_sent_before_it(
    memcached: Memcached, calls: Calls
) -> None:
    relay = HeldAnswers(memcached.port)
    load = numbers(region(relay.address), calls)
    # Another process invalidates.
    elsewhere = region(memcached.address)
    elsewhere["functions"].functions.clear()

    async def main() -> None:
        assert await load(1) == await load(1) == (1, 1)
        relay.proceed.clear()
        before = asyncio.create_task(load(1))
        await until(relay.held.is_set)
        await asyncio.to_thread(elsewhere["functions"].invalidate_everything)
        after = asyncio.create_task(load(1))
        await asyncio.sleep(0)
        relay.proceed.set()
        assert await before == (1, 1)
        assert await after == (1, 2)

    asyncio.run(main())
    relay.close()


@pytest.mark.parametrize(
    "nonsense", [b"nonsense\r\n", b"VALUE brg1:another 0 1\r\nx\r\nEND\r\n", b"END\r\nEND\r\n"]
)
def test_an_answer_that_is_not_to_the_request_ends_the_connection(
    proxy: Proxy, calls: Calls, nonsense: bytes
) -> None:
    cache = region(proxy.address, retry=1e-6)
    load = numbers(cache, calls)
    answers = iter([nonsense])

    async def main() -> None:
        assert await load(1) == await load(1) == (1, 1)
        before = proxy.connections
        proxy.answer = lambda request: next(answers, None) if request.startswith("get") else None
        assert (await load(1))[0] == 1
        while proxy.connections == before:
            assert (await load(2))[0] == 2
        assert (await load(1))[0] == 1

    asyncio.run(asyncio.wait_for(main(), LONG))


# -- servers that fail -----------------------------------------------------------------------------


def test_a_server_that_hangs_costs_a_time_out_and_its_late_answers_are_not_read(
    own_memcached: Memcached, calls: Calls, run: Main
) -> None:
    cache = region(own_memcached.address, timeout=0.2, retry=0.01)
    load = numbers(cache, calls)

    async def main() -> None:
        stored = await load.many(range(4))
        own_memcached.pause()
        found = await asyncio.gather(*map(load, range(4)))
        assert [number for number, _ in found] == [0, 1, 2, 3]
        assert calls.count == 8
        own_memcached.resume()
        deadline = time.monotonic() + LONG
        while (found := [await load(number) for number in (3, 2, 1, 0)]) != stored[::-1]:
            assert [number for number, _ in found] == [3, 2, 1, 0]
            assert time.monotonic() < deadline

    run(main())
    assert failures(cache).keys() <= {"failed.server", "failed.away"}


def test_a_restarted_server_is_no_failure(own_memcached: Memcached, calls: Calls) -> None:
    cache = region(own_memcached.address)
    load = numbers(cache, calls)

    async def main() -> None:
        assert await load(1) == await load(1) == (1, 1)
        own_memcached.restart()
        assert await load(1) == await load(1) == (1, 2)

    asyncio.run(main())
    assert not failures(cache)


def test_a_loop_that_was_busy_for_longer_than_the_time_out_reads_the_answer(
    memcached: Memcached, run: Main
) -> None:
    relay = HeldAnswers(memcached.port)
    cache = region(relay.address, timeout=3)
    load = numbers(cache)
    readable, sender = socket.socketpair()

    def be_busy() -> None:
        asyncio.get_running_loop().remove_reader(readable.fileno())
        relay.proceed.set()
        time.sleep(3.3)

    async def main() -> None:
        await load(1)
        await load(1)
        relay.proceed.clear()
        waiting = asyncio.create_task(load(1))
        await asyncio.to_thread(relay.held.wait, LONG)
        asyncio.get_running_loop().add_reader(readable.fileno(), be_busy)
        sender.send(b"x")
        assert await waiting == (1, 0)

    with readable, sender:
        run(main())
    relay.close()
    assert not failures(cache)


def test_a_pending_invalidation_is_applied_before_a_coroutine_reads(
    memcached: Memcached, calls: Calls
) -> None:
    cache = region(memcached.address)
    load = numbers(cache, calls)

    async def main() -> None:
        assert await load(1) == await load(1) == (1, 1)
        # As another process of this host does if it does not reach the server.
        cache["functions"].store.keep_pending(load.entry(1).own_scope)
        assert await load(1) == (1, 2)

    asyncio.run(main())


def test_one_server_of_several_is_away(memcached: Memcached, own_memcached: Memcached) -> None:
    cache = region([memcached.address, own_memcached.address], timeout=1, retry=LONG)
    calls = count()

    @cache.region("functions")
    async def load(number: int) -> tuple[int, int]:
        return number, next(calls)

    async def main() -> None:
        stored = await load.many(range(20))
        assert await load.many(range(20)) == stored
        own_memcached.kill()
        found = await asyncio.gather(*map(load, range(20)))
        assert [number for number, _ in found] == list(range(20))
        again = await load.many(range(20))
        kept = set(again) & set(stored)
        assert 0 < len(kept) < 20
        assert kept == set(found) & set(stored)

    asyncio.run(main())


# -- many loops ------------------------------------------------------------------------------------


def test_a_loop_uses_the_connection_of_one_that_has_ended(proxy: Proxy, run: Main) -> None:
    load = numbers(region(proxy.address))
    run(load.many(range(3)))
    run(load(0))
    before = proxy.connections
    for number in (0, 1, 2, 0, 1, 2):
        assert run(load(number)) == (number, 0)
    assert proxy.connections == before


def test_a_loop_that_ends_while_a_task_waits_leaves_no_answer_to_the_next(
    memcached: Memcached, run: Main
) -> None:
    relay = HeldAnswers(memcached.port)
    cache = region(relay.address)
    load = numbers(cache)

    async def leave() -> None:
        relay.proceed.clear()
        task = asyncio.create_task(load(1))
        await until(relay.held.is_set)
        task.cancel()

    async def come() -> None:
        task = asyncio.create_task(load(2))
        await asyncio.sleep(0)
        relay.proceed.set()
        assert await task == (2, 0)

    run(load.many(range(3)))
    run(load(0))
    run(leave())
    run(come())
    assert [run(load(number)) for number in (1, 0)] == [(1, 0), (0, 0)]
    relay.close()
    assert not failures(cache)


def test_loops_of_several_threads_do_not_disturb_each_other(memcached: Memcached) -> None:
    cache = region(memcached.address)
    load = numbers(cache)
    wrong: list[object] = []

    async def main() -> None:
        for _ in range(5):
            found = await asyncio.gather(*map(load, range(20)))
            wrong.extend(each for each in enumerate(found) if each[1] != (each[0], 0))

    def work() -> None:
        for _ in range(3):
            asyncio.run(main())

    asyncio.run(main())
    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert not failures(cache)


def test_children_have_connections_of_their_own(memcached: Memcached) -> None:
    cache = region(memcached.address, timeout=10)
    load = numbers(cache)
    every = list(range(50))

    def read() -> None:
        for _ in range(10):
            assert asyncio.run(load.many(every)) == [(number, 0) for number in every]
        assert not failures(cache)

    read()
    children = [fork(read) for _ in range(3)]
    read()
    assert statuses(children) == [0] * 3
    read()


@pytest.fixture(autouse=True)
def _no_warnings(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    """No socket of a loop that has ended is left to the interpreter to close."""
    yield
    assert not [each for each in recwarn if issubclass(each.category, ResourceWarning)]
