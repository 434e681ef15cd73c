"""What a hit from memcached costs, in microseconds, beside one get of the bare client.

Run it with ``python -m bench.hit``.
"""

from __future__ import annotations

import enum
import os
import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import memcache
import pylibmc
import pymemcache

import beaker_regions
from bench.contenders import (
    CONTENDERS,
    ON_MEMCACHED,
    OTHER_CLIENTS,
    OURS,
    Contender,
    Ours,
    Place,
)
from bench.report import Row, arguments, report, spread
from tests.servers import Memcached, Server

Call = Callable[[int], Any]

ROWS = [(number, f"Task number {number}", False) for number in range(50)]
VALUES: dict[str, Any] = {
    "small": {"id": 7, "name": "Water the plants", "done": False},
    "50 rows": ROWS,
    "50 rows in a tuple": tuple(ROWS),
    "10 KB of bytes": bytes(range(250)) * 40,
}
Clock = Callable[[], float]
"""Returns seconds of processor time."""
TURN = 0.004
"""Seconds that a contender's turn takes, about: short, so that the turns of one round have the same
neighbours on the machine."""
STRONGEST = "dogpile.cache, pylibmc"
"""The fastest peer that stores what a function returns."""
ENUM, INTEGERS = f"{OURS}, an enum", f"{OURS}, integers"
BESIDE = {OURS: "python-memcached, pickle 5, one get", ENUM: INTEGERS}
"""What else a contender is compared with: a bare get, and the same call with other arguments."""


def clock_of(server: Server) -> Clock:
    """Return the clock of this process and the server together. On one idle processor it goes as
    any clock. On a busy one it leaves out the time in which others run."""
    assert server.process is not None
    its = ~server.process.pid << 3 | 2  # as clock_getcpuclockid(3) makes it
    return lambda: time.process_time() + time.clock_gettime(its)


def measure(
    calls: dict[str, Call], value: Any, keys: int, rounds: int, clock: Clock = time.process_time
) -> dict[str, list[float]]:
    """Return the microseconds of ``clock`` a call, of each contender in each round."""
    turns = {}
    for name, call in calls.items():
        for key in range(keys):
            assert call(key) == value, name
        started = clock()
        for key in range(keys):
            call(key)
        turns[name] = max(3, round(TURN * keys / (clock() - started)))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        # In another order each time: a turn is slower after some than after others.
        for name in random.sample(list(calls), len(calls)):
            call, count = calls[name], turns[name]
            started = clock()
            for number in range(count):
                call(number % keys)
            samples[name].append((clock() - started) / count * 1e6)
    return samples


def rows_of(samples: dict[str, list[float]], against: str, **about: Any) -> list[Row]:
    """Return a row a contender, beside ``against`` in the same round."""
    rows = []
    for name, micros in samples.items():
        ratios = [mine / peer for mine, peer in zip(micros, samples[against], strict=True)]
        rows.append(
            {
                **about,
                "contender": name,
                "us, least": round(min(micros), 2),
                "us, median": round(statistics.median(micros), 2),
                "us, 80 %": spread(micros),
                "ratio of least": round(min(micros) / min(samples[against]), 3),
                "ratio, median": round(statistics.median(ratios), 3),
                "to": against,
            }
        )
    return rows


def on_memcached(place: Place, rounds: int, clock: Clock) -> list[Row]:
    rows = []
    keys = 10
    for size, value in VALUES.items():

        def load(_: int, value: Any = value) -> Any:
            return value

        calls: dict[str, Call] = {}
        for name, client in {
            "python-memcached, one get": memcache.Client([place.address]),
            "python-memcached, pickle 5, one get": memcache.Client(
                [place.address], pickleProtocol=5
            ),
            "pylibmc, one get": pylibmc.Client([place.address], behaviors={"tcp_nodelay": True}),
            "pymemcache, one get": pymemcache.Client(
                place.address, serde=pymemcache.serde.pickle_serde, no_delay=True
            ),
        }.items():
            calls[name] = one_get(client, re.sub("[ ,]+", "-", name), value, keys)
        for name, contender in measured().items():
            made = contender(place, load, timeout=3)
            for key in range(keys):
                made.invalidate(key)
            calls[name] = made.call
        samples = measure(calls, value, keys, rounds, clock)
        rows += rows_of(samples, STRONGEST, place="memcached", value=size)
        for name, bare in BESIDE.items():
            both = {each: samples[each] for each in (name, bare)}
            rows += rows_of(both, bare, place="memcached", value=size)[:1]
    return rows


def measured() -> dict[str, type[Contender]]:
    return {name: CONTENDERS[name] for name in ON_MEMCACHED} | {
        ENUM: OursEnum,
        INTEGERS: OursIntegers,
        **OTHER_CLIENTS,
    }


class Wanted(enum.StrEnum):
    ALL = "all"


class OursIntegers(Ours):
    """As `Ours`, called with three numbers."""

    wanted: Any = 0

    def decorate(self, cache: beaker_regions.CacheManager, load: Callable[[int], Any]) -> None:
        @cache.region("ours")
        def value(key: int, wanted: Any, number: int) -> Any:  # noqa: ARG001
            return load(key)

        self.call = lambda key: value(key, self.wanted, 1)
        self.invalidate = lambda key: value.invalidate(key, self.wanted, 1)


class OursEnum(OursIntegers):
    """With a member of an enumeration, as the task list has."""

    wanted = Wanted.ALL


def one_get(client: Any, prefix: str, value: Any, keys: int) -> Call:
    """Return what fetches a key's value with ``client`` and nothing else."""
    for key in range(keys):
        client.set(f"{prefix}{key}", value)
    return lambda key: client.get(f"{prefix}{key}")


def main() -> None:
    given = arguments(__doc__)
    rounds = 20 if given.quick else 300
    # One processor for server and client: what is measured is their work, and not how long an idle
    # processor takes to wake up, which may be as long and varies.
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    server = Memcached()
    server.start()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        rows = on_memcached(Place(server.address, Path(name)), rounds, clock_of(server))
    server.stop()
    report("hit", given, {"rounds": rounds, "seconds a turn": TURN}, rows)


if __name__ == "__main__":
    main()
