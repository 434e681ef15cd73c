"""What a hit on Redis costs, in microseconds, beside one get of redis-py and the caches of Django.

Run it with ``python -m bench.redis_hit``. All read answers with hiredis. Coroutine functions are
beside one get of redis.asyncio, and cashews.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis.asyncio
from django.conf import settings

from bench.contenders import CONTENDERS, EXPIRE, OURS, Contender, OursRedis, Place
from bench.coroutines import OursAsync
from bench.hit import VALUES, Call, clock_of, measure, rows_of
from bench.report import Row, arguments, report
from tests.servers import Redis

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.contenders import Load

BARE = "redis-py, pickle 5, one get"
BARE_ASYNC = "redis.asyncio, pickle 5, one get"
KEYS = 10
TURN = 30
"""Hits of a coroutine function in one round."""


class Cacheops(Contender):
    """django-cacheops: a function kept until it expires."""

    def __init__(self, place: Place, load: Load, timeout: float | None = None) -> None:
        settings.configure(CACHEOPS_REDIS=f"redis://{place.address}/1", SECRET_KEY="of the bench")
        from cacheops import cached

        def value(key: int) -> Any:
            return self.load(key)

        made: Any = cached(timeout=EXPIRE)(value)
        self.load, self.call, self.invalidate = load, made, made.invalidate


def bare(server: Redis, value: Any, keys: int) -> Call:
    client = redis.Redis(port=server.port)
    for key in range(keys):
        client.set(f"bare{key}", pickle.dumps(value, protocol=5))

    def get(key: int) -> Any:
        found: Any = client.get(f"bare{key}")
        return pickle.loads(found)

    return get


class OursRedisAsync(OursAsync, OursRedis):
    """A coroutine function on Redis."""


def hits_of_coroutines(server: Redis, place: Place, value: Any, rounds: int) -> dict[str, Any]:
    """Return the microseconds a hit of each contender in each round, in one task."""
    from cashews import cache

    cache.setup(f"redis://{place.address}/2")
    loop = asyncio.new_event_loop()
    client = redis.asyncio.Redis(port=server.port)

    @cache(ttl=EXPIRE, key="{key}")
    async def cached(key: int) -> Any:  # noqa: ARG001
        return value

    async def get(key: int) -> Any:
        return pickle.loads(await client.get(f"async{key}"))

    ours = OursRedisAsync(place, lambda _: value, timeout=3)
    contenders: dict[str, Callable[[int], Awaitable[Any]]] = {
        BARE_ASYNC: get,
        f"{OURS}, coroutines": ours.call,
        "cashews": cached,
    }

    async def turn(call: Callable[[int], Awaitable[Any]], times: int) -> None:
        for number in range(times):
            assert await call(number % KEYS) == value

    async def empty() -> None:
        await cache.clear()
        for key in range(KEYS):
            await ours.invalidate(key)  # type: ignore[misc]
            await client.set(f"async{key}", pickle.dumps(value, protocol=5))

    loop.run_until_complete(empty())
    clock = clock_of(server)
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, call in contenders.items():
            started = clock()
            loop.run_until_complete(turn(call, TURN))
            samples[name].append((clock() - started) / TURN * 1e6)
    loop.run_until_complete(client.aclose())
    loop.run_until_complete(cache.close())
    loop.close()
    # In the first one everybody connects and loads.
    return {name: micros[1:] for name, micros in samples.items()}


def main() -> None:
    given = arguments(__doc__)
    rounds, keys = 20 if given.quick else 300, KEYS
    # As in bench.hit: one processor for the server and its client.
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    server = Redis()
    server.start()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Place(server.address, Path(folder))
        cacheops = Cacheops(place, lambda _: None)
        for size, value in VALUES.items():

            def load(_: int, value: Any = value) -> Any:
                return value

            cacheops.load = load
            contenders: dict[str, Contender] = {
                name: kind(place, load, timeout=3)
                for name, kind in CONTENDERS.items()
                if kind.server is Redis
            }
            contenders["django-cacheops"] = cacheops
            for contender in contenders.values():
                for key in range(keys):
                    contender.invalidate(key)
            calls: dict[str, Call] = {BARE: bare(server, value, keys)}
            calls |= {name: each.call for name, each in contenders.items()}
            samples = measure(calls, value, keys, rounds, clock_of(server))
            rows += rows_of(samples, BARE, value=size)
            samples = hits_of_coroutines(server, place, value, rounds)
            rows += rows_of(samples, BARE_ASYNC, value=size)
    server.stop()
    report("redis_hit", given, {"rounds": rounds}, rows)


if __name__ == "__main__":
    main()
