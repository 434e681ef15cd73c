"""What was predicted for each expiry, beside what that expiry does.

Run it with ``python -m bench.whatif``.

Traces run in simulated time: once through the sampler and the simulation of the library, as
they run behind every cached function, with the generations that invalidations change; and once an
expiry through a table that does what the expiry says, for every key. A part in real time drives
the library itself on files, once an expiry, in several processes.

The traces are made up: one with keys by Zipf's law at a steady rate, one with the daily tide of a
web site and writes that invalidate. ``--log FILE`` reads a real one, in the Common Log Format of
web servers: each GET is a call, each other method with an answer below 400 invalidates its path.
None comes with the project: give it one of your own site.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import math
import multiprocessing
import os
import random
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from beaker_regions import CacheManager, parse_cache_config_options
from beaker_regions.entries.entry import Lookup, address_of
from beaker_regions.entries.records import Codec, Record
from beaker_regions.reports import metrics
from beaker_regions.telemetry.expiry_advice import advise
from beaker_regions.telemetry.sampling import KEY_SIZE, FunctionSampler, unpacked
from beaker_regions.telemetry.simulation import DAY, HOUR, Simulation
from bench.report import Row, report

EXPIRIES = (10, 60, 600, HOUR, 6 * HOUR, DAY)
"""Seconds."""
REPLAY_EVERY = 300
"""Seconds of the trace between two simulations of the samples, as in use."""


class Event(NamedTuple):
    at: float
    """Seconds."""
    key: str
    is_write: bool = False


def zipf(random_: random.Random, keys: int, exponent: float) -> Iterator[str]:
    """Yield keys, the n-th with a probability of n to the power of -``exponent``."""
    weights = list(itertools.accumulate(n**-exponent for n in range(1, keys + 1)))
    while True:
        yield str(bisect.bisect_left(weights, random_.random() * weights[-1]))


def steady(calls: int, keys: int, exponent: float) -> Iterator[Event]:
    """A day of calls at a steady rate."""
    random_ = random.Random(1)
    at = 0.0
    for key in itertools.islice(zipf(random_, keys, exponent), calls):
        at += random_.expovariate(calls / DAY)
        yield Event(at, key)


def tidal(calls: int, keys: int, exponent: float, writes: float) -> Iterator[Event]:
    """Two days of visits by day and night, of a few calls of one key each, and writes."""
    random_ = random.Random(2)
    at, made = 0.0, 0
    names = zipf(random_, keys, exponent)
    while made < calls:
        tide = 1 + 0.9 * math.sin(2 * math.pi * at / DAY)
        at += random_.expovariate(calls / 3 / (2 * DAY) * tide)
        key = next(names)
        if random_.random() < writes:
            yield Event(at, key, is_write=True)
        moment = at
        for _ in range(1 + int(random_.expovariate(0.5))):
            yield Event(moment, key)
            made += 1
            moment += random_.expovariate(0.2)


_LINE = re.compile(r'\S+ \S+ \S+ \[([^]]+)\] "([A-Z]+) (\S+)[^"]*" (\d{3})')


def logged(path: Path) -> Iterator[Event]:
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if (found := _LINE.match(line)) and int(found[4]) < 400:
                at = datetime.strptime(found[1], "%d/%b/%Y:%H:%M:%S %z").timestamp()
                yield Event(at, found[3], is_write=found[2] not in ("GET", "HEAD"))


def predicted(events: Iterable[Event]) -> tuple[dict[float, float], float]:
    """Return the predicted hit ratio by expiry, and the share of the keys that was simulated."""
    sampler, simulation, today = FunctionSampler("bench", "trace"), Simulation(), HOUR
    generations: dict[str, bytes] = {}
    stored: dict[str, Record] = {}
    taken = b""
    calls, next_replay, share = 0, 0.0, 1.0
    for at, key, is_write in events:
        generation = generations.setdefault(key, os.urandom(8))
        if is_write:
            generations[key] = os.urandom(8)
            continue
        calls += 1
        record = stored.get(key)
        address = address_of(key.encode())
        is_sampled = address < sampler.below or address[:KEY_SIZE] in sampler.hot
        if is_sampled:
            run = sampler.runs.get(address)
            if run and int(at) == sampler.second and run.generations == (generation,):
                run.calls, run.last = run.calls + 1, at
            elif sampler.begin_run(at, address, Lookup(record, (generation,))):
                taken += sampler.take(at, calls)
        if record is None or not reading_matches(record, generation, at, today):
            stored[key] = Record((generation,), at, today, 0.0, Codec.PICKLE, b"")
        if at >= next_replay:
            simulation.run(sorted(unpacked(taken)))
            taken, next_replay = b"", at + REPLAY_EVERY
            hot = frozenset(key.to_bytes(KEY_SIZE) for key in simulation.hot)
            sampler.use(min(simulation.threshold, 2 * sampler.threshold), hot)
            share = min(share, simulation.threshold / (1 << 16))
    simulation.run(sorted(unpacked(taken + sampler.take(at, calls, all_of_it=True))))
    points = advise(simulation, today, 1.0, 7 * 24).points
    return {point.expire: point.hit_ratio for point in points}, share


def reading_matches(record: Record, generation: bytes, at: float, expire: float) -> bool:
    return record.generations == (generation,) and at - record.stored_at < expire


def measured(events: Iterable[Event], expire: float) -> float:
    """Return the hit ratio of a table whose values expire after that many seconds."""
    loaded: dict[str, float] = {}
    calls = hits = 0
    for at, key, is_write in events:
        if is_write:
            loaded.pop(key, None)
            continue
        calls += 1
        if at - loaded.get(key, -math.inf) < expire:
            hits += 1
        else:
            loaded[key] = at
    return hits / calls


def compared(name: str, events: list[Event]) -> list[Row]:
    curve, share = predicted(events)
    rows = []
    for expire in EXPIRIES:
        ratio = measured(events, expire)
        rows.append(
            {
                "trace": name,
                "calls": sum(not event.is_write for event in events),
                "keys replayed": round(share, 4),
                "expire, s": expire,
                "predicted": round(curve[expire], 4),
                "measured": round(ratio, 4),
                "off by": round(curve[expire] - ratio, 4),
            }
        )
    return rows


# -- in real time -----------------------------------------------------------------------------


def live(processes: int, seconds: float) -> list[Row]:
    """Run the library itself, once an expiry; predict each from the run of the longest."""
    expiries = (10, 5, 2, 1)
    ratios, curve, calls = {}, {}, {}
    for expire in expiries:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            children = [
                multiprocessing.Process(target=_visit, args=(Path(folder), expire, number, seconds))
                for number in range(processes)
            ]
            for child in children:
                child.start()
            for child in children:
                child.join()
            where = Path(folder) / ".metrics"
            metrics.bring_up_to_date(where)
            (found,) = [each for each in metrics.collect(where) if each.calls]
            ratios[expire], calls[expire] = found.hit_ratio or 0.0, found.calls
            if expire == expiries[0]:
                known = metrics.advise(where, found.region, found.function, expire)
                curve = {point.expire: point.hit_ratio for point in known.points}
    return [
        {
            "trace": f"real time, {processes} processes",
            "calls": calls[expire],
            "keys replayed": 1.0,
            "expire, s": expire,
            "predicted": round(curve[expire], 4),
            "measured": round(ratios[expire], 4),
            "off by": round(curve[expire] - ratios[expire], 4),
        }
        for expire in expiries
    ]


def _visit(folder: Path, expire: int, number: int, seconds: float) -> None:
    config = {"type": "file", "data_dir": folder, "secret": "of the bench", "expire": expire}
    cache = CacheManager(
        **parse_cache_config_options(
            {"cache.regions": "bench", **{f"cache.bench.{k}": v for k, v in config.items()}}
        )
    )

    @cache.region("bench")
    def load(key: str) -> str:
        return key

    random_ = random.Random(number)
    keys = zipf(random_, 2_000, 0.9)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        load(next(keys))
        time.sleep(random_.expovariate(100))
    metrics.bring_up_to_date(folder / ".metrics")  # as a process does that ends by itself


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--output", type=Path, help="the folder of the JSON file")
    parser.add_argument("--log", type=Path, help="an access log, in the Common Log Format")
    given = parser.parse_args()
    calls = 50_000 if given.quick else 400_000
    rows = compared("Zipf 0.9, 100,000 keys", list(steady(calls, 100_000, 0.9)))
    rows += compared("Zipf 1.1, 20,000 keys", list(steady(calls, 20_000, 1.1)))
    rows += compared("tidal, with writes", sorted(tidal(calls, 50_000, 0.8, 0.05)))
    if given.log:
        rows += compared(given.log.name, sorted(logged(given.log)))
    rows += live(4, 15 if given.quick else 60)
    report("whatif", given, {"seed": "fixed"}, rows)


if __name__ == "__main__":
    main()
