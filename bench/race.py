"""Stale reads while four processes read and two write.

Run it with ``python -m bench.race [--full]``.

They are on one host, or spread over two: a host is what shares a folder, and there the locks of
stock Beaker are, and the files of a region; with a cluster that region has hosts. A writer changes
the truth, invalidates, and then announces the version. A reader notes what is announced, calls, and
has a stale read when it gets something older.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench.contenders import (
    CONTENDERS,
    ON_SERVERS,
    OURS,
    PATIENCE,
    Contender,
    OursByQueries,
    OursCluster,
    Place,
    processes,
)
from bench.report import Row, arguments, report, spread
from tests.servers import Memcached, Redis

CLUSTER = f"{OURS}, files, cluster"
BY_QUERIES = f"{OURS}, depends_on queries"
RACING = CONTENDERS | {BY_QUERIES: OursByQueries, CLUSTER: OursCluster}
READERS = 4
WRITERS = 2
KEYS = 3
LOAD = 0.005
"""Seconds that a load takes at most after it has read the truth."""
PAUSE = 0.02
"""Seconds between two changes, at most."""
TIMEOUT = 3
"""Seconds; the peers' default. A busy machine is no fault: what is measured is the protocol."""


class Shared(NamedTuple):
    """What the processes of one turn share; arrays hold one version a key."""

    truth: Any
    announced: Any
    loads: Any
    stop: Any


def contender(name: str, place: Place, shared: Shared) -> Contender:
    def load(key: int) -> int:
        version: int = shared.truth[key]
        with shared.loads.get_lock():
            shared.loads.value += 1
        time.sleep(random.uniform(0, LOAD))
        return version

    return RACING[name](place, load, timeout=TIMEOUT)


def read(name: str, place: Place, shared: Shared, results: Any) -> None:
    cached = contender(name, place, shared)
    reads = stale = 0
    while not shared.stop.is_set():
        key = random.randrange(KEYS)
        announced = shared.announced[key]
        reads += 1
        stale += cached.call(key) < announced
    results.put((reads, stale))


def write(name: str, place: Place, shared: Shared, seconds: float) -> None:
    cached = contender(name, place, shared)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        key = random.randrange(KEYS)
        with shared.truth.get_lock():
            shared.truth[key] += 1
            version = shared.truth[key]
        cached.invalidate(key)
        with shared.announced.get_lock():
            shared.announced[key] = max(shared.announced[key], version)
        time.sleep(random.uniform(0, PAUSE))


def turn(name: str, address: str, folder: Path, hosts: int, seconds: float) -> dict[str, int]:
    """Let one contender race; return counts."""
    places = [Place(address, folder / f"host{number % hosts}") for number in range(READERS)]
    shared = Shared(
        processes.Array("q", KEYS),
        processes.Array("q", KEYS),
        processes.Value("q"),
        processes.Event(),
    )
    results = processes.Queue()
    readers = [
        processes.Process(target=read, args=(name, place, shared, results), daemon=True)
        for place in places
    ]
    writers = [
        processes.Process(target=write, args=(name, place, shared, seconds), daemon=True)
        for place in places[:WRITERS]
    ]
    for process in (*readers, *writers):
        process.start()
    for process in writers:
        process.join()
    shared.stop.set()
    reads, stale = map(sum, zip(*(results.get(timeout=PATIENCE) for _ in readers), strict=True))
    for process in readers:
        process.join()
    return {
        "writes": sum(shared.truth),
        "loads": shared.loads.value,
        "reads": reads,
        "stale": stale,
    }


def main() -> None:
    given = arguments(__doc__, full="four times as long")
    rounds, seconds = (1, 0.5) if given.quick else (4, 4.0) if given.full else (2, 2.0)
    cases = [(name, 1) for name in RACING] + [
        (name, 2) for name in (*ON_SERVERS, BY_QUERIES, CLUSTER)
    ]
    turns: dict[tuple[str, int], list[dict[str, int]]] = {case: [] for case in cases}
    servers = {kind: kind() for kind in (Memcached, Redis)}
    for server in servers.values():
        server.start()
    for _ in range(rounds):
        for (name, hosts), counts in turns.items():
            server = servers[RACING[name].server]
            server.flush()
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                counts.append(turn(name, server.address, Path(folder), hosts, seconds))
    for server in servers.values():
        server.stop()
    rows: list[Row] = []
    for (name, hosts), counts in turns.items():
        row: Row = {"contender": name, "hosts": hosts}
        row |= {what: sum(each[what] for each in counts) for what in counts[0]}
        row["% stale"] = round(100 * row["stale"] / row["reads"], 3)
        row["%, 80 % of rounds"] = spread([100 * each["stale"] / each["reads"] for each in counts])
        rows.append(row)
    settings = {
        "rounds": rounds,
        "seconds a turn": seconds,
        "readers": READERS,
        "writers": WRITERS,
        "keys": KEYS,
        "load up to s": LOAD,
        "pause up to s": PAUSE,
    }
    report("race", given, settings, rows)


if __name__ == "__main__":
    main()
