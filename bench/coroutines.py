"""What a hit of a coroutine function costs, in microseconds of processor time of this process and
memcached, in one task and in fifty at once, and for how long it keeps the event loop from
everything else.

The peers are aiocache, set up as its documentation says, and the client that it uses, aiomcache.
cashews has no memcached.

Run it with ``python -m bench.coroutines``.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiocache  # type: ignore[import-untyped]
import aiomcache
from aiocache.serializers import PickleSerializer  # type: ignore[import-untyped]

import beaker_regions
from bench.contenders import EXPIRE, OURS, Ours, Place
from bench.hit import VALUES, Clock, clock_of
from bench.report import Row, arguments, report, spread
from tests.servers import Memcached

Call = Callable[[int], Awaitable[Any]]

PEER = "aiocache"
KEYS = 50
TASKS = 1, 50
TURN = 0.003
"""Seconds that a contender's turn takes, about."""


class OursAsync(Ours):
    """A coroutine function."""

    def decorate(self, cache: beaker_regions.CacheManager, load: Callable[[int], Any]) -> None:
        @cache.region("ours")
        async def value(key: int) -> Any:
            return load(key)

        self.call, self.invalidate = value, value.invalidate


def calls_of(place: Place, value: Any, prefix: str) -> dict[str, Call]:
    """Return each contender's way to fetch a value; connections are of the running loop."""

    def load(_: int) -> Any:
        return value

    host, _, port = place.address.partition(":")
    client = aiomcache.Client(host, int(port))

    async def get(key: int) -> Any:
        return await client.get(b"%b%d" % (prefix.encode(), key))

    def cached(connections: int) -> Call:
        @aiocache.cached(  # type: ignore[untyped-decorator]
            ttl=EXPIRE,
            cache=aiocache.Cache.MEMCACHED,
            endpoint=host,
            port=int(port),
            pool_size=connections,
            serializer=PickleSerializer(),
            key_builder=lambda _, key: f"{prefix}c{key}",
        )
        async def call(key: int) -> Any:
            return load(key)

        return call  # type: ignore[no-any-return]

    return {
        OURS: OursAsync(place, load, timeout=3).call,
        PEER: cached(2),
        f"{PEER}, 10 connections": cached(10),
        "aiomcache, one get": get,
    }


async def turn(call: Call, tasks: int, rounds: int, clock: Clock = time.perf_counter) -> float:
    """Let each of ``tasks`` call ``rounds`` times; return the seconds of ``clock`` a call."""

    async def calls(first: int) -> None:
        for number in range(first, first + rounds):
            await call(number % KEYS)

    started = clock()
    if tasks == 1:
        await calls(0)
    else:
        await asyncio.gather(*[calls(first) for first in range(tasks)])
    return (clock() - started) / (tasks * rounds)


async def measure(place: Place, name: str, rounds: int, clock: Clock) -> list[Row]:
    value, rows = VALUES[name], []
    calls = calls_of(place, value, name.replace(" ", ""))
    client = aiomcache.Client("127.0.0.1", int(place.address.rpartition(":")[2]))
    for key in range(KEYS):
        await client.set(f"{name.replace(' ', '')}{key}".encode(), str(value).encode())
        for call in calls.values():
            await call(key)
    for tasks in TASKS:
        counts = {
            each: max(3, round(TURN / tasks / await turn(call, tasks, 3)))
            for each, call in calls.items()
        }
        samples: dict[str, list[float]] = {each: [] for each in calls}
        for _ in range(rounds):
            # In another order each time: a turn is slower after some than after others.
            for each in random.sample(list(calls), len(calls)):
                samples[each].append(await turn(calls[each], tasks, counts[each], clock) * 1e6)
        for each, micros in samples.items():
            ratios = [mine / peer for mine, peer in zip(micros, samples[PEER], strict=True)]
            rows.append(
                {
                    "value": name,
                    "tasks": tasks,
                    "contender": each,
                    "us a hit": round(statistics.median(micros), 2),
                    "least": round(min(micros), 2),
                    "us, 80 %": spread(micros),
                    "ratio": round(statistics.median(ratios), 3),
                    "least ratio": round(min(micros) / min(samples[PEER]), 3),
                    "to": PEER,
                    "longest step, us": await longest_step(calls[each], tasks),
                }
            )
    await client.close()
    return rows


async def longest_step(call: Call, tasks: int) -> float:
    """Return the microseconds of the longest step of the event loop, in the best of some turns:
    other processes interrupt some."""
    longest = 0.0
    handles: Any = asyncio.Handle
    run = handles._run

    def timed(handle: asyncio.Handle) -> None:
        nonlocal longest
        started = time.perf_counter()
        run(handle)
        longest = max(longest, time.perf_counter() - started)

    turns = []
    handles._run = timed
    try:
        for _ in range(10):
            longest = 0.0
            await turn(call, tasks, 20)
            turns.append(longest)
    finally:
        handles._run = run
    return round(min(turns) * 1e6, 1)


def main() -> None:
    given = arguments(__doc__)
    rounds = 50 if given.quick else 400
    # One processor for server and client: what is measured is their work, and not how long an idle
    # processor takes to wake up, which may be as long and varies.
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    server = Memcached()
    server.start()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name in VALUES:
            place = Place(server.address, Path(folder))
            rows += asyncio.run(measure(place, name, rounds, clock_of(server)))
    server.stop()
    report("coroutines", given, {"rounds": rounds, "seconds a turn": TURN}, rows)


if __name__ == "__main__":
    main()
