"""What a hit on Redis costs, in microseconds, beside one get of redis-py and the caches of Django.

Run it with ``python -m bench.redis_hit``. All read answers with hiredis.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from django.conf import settings

from bench.contenders import CONTENDERS, EXPIRE, Contender, Place
from bench.hit import VALUES, Call, clock_of, measure, rows_of
from bench.report import Row, arguments, report
from tests.servers import Redis

if TYPE_CHECKING:
    from bench.contenders import Load

BARE = "redis-py, pickle 5, one get"


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


def main() -> None:
    given = arguments(__doc__)
    rounds, keys = 20 if given.quick else 300, 10
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
    server.stop()
    report("redis_hit", given, {"rounds": rounds}, rows)


if __name__ == "__main__":
    main()
