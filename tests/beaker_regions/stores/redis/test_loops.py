"""Hits of coroutines on Redis take no thread."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions.stores.redis.link import epoch_of
from beaker_regions.stores.redis.loop_protocol import LoopProtocol
from tests.beaker_regions.conftest import Calls, make_manager

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers import Redis

    Start = Callable[..., Redis]


def test_a_hit_takes_no_thread_and_a_restart_with_a_snapshot_no_old_value(
    start: Start, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    cache = make_manager(
        type="ext:redis", url=server.url, secret="of the tests", timeout=5, retry=0.01
    )

    @cache.region("functions", tags=["news"])
    async def load(key: int) -> int:
        return calls()

    async def first() -> None:
        values = await asyncio.gather(*(load(key) for key in range(20)))
        assert list(await asyncio.gather(*(load(key) for key in range(20)))) == list(values)
        with monkeypatch.context() as context:
            context.setattr(threading.Thread, "start", _no_thread)
            context.setattr("beaker_regions.runtime.threads.do_apart", _no_thread)
            assert list(await asyncio.gather(*(load(key) for key in range(20)))) == list(values)
        assert server.ask("SAVE") == b"+OK"
        await asyncio.to_thread(cache.invalidate_tags, "news")
        assert await load(1) > max(values)
        server.restart()
        fresh = await load(1)
        assert fresh > 21, "the snapshot holds a value of before the invalidation"

    asyncio.run(first())


def _no_thread(*_: Any, **__: Any) -> None:
    raise AssertionError("a thread is used")


def test_an_answer_in_pieces() -> None:
    ids = b"run_id:a\r\nrole:master\r\nmaster_replid:b\r\n"
    generation = os.urandom(8)
    protocol, found = LoopProtocol(), dict[str, bytes]()
    assert b"INFO" in protocol.get_request(["a", "b"])
    assert b"INFO" not in protocol.get_request(["a", "b"]), "it was asked just now"
    value = b"$16\r\n%b\r\n$-1\r\n" % (generation + epoch_of([b"", ids]))
    second = b"*2\r\n" + value
    first = second + b"$0\r\n\r\n$%d\r\n%b\r\n" % (len(ids), ids)
    for answer in (first, second):
        found = {}
        for size in range(len(answer)):
            at, missing = protocol.read_items(answer[:size], 0, found)
            assert (at, found) == (0, {})
            assert 0 < missing <= len(answer) - size
        assert protocol.read_items(answer + b"next", 0, found) == (len(answer), 0)
        assert found == {"a": generation}
