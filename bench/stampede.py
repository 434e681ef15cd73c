"""Many callers of one cold key at once: how often it is loaded, and when all have it.

Run it with ``python -m bench.stampede [--full]``.

The callers are threads of several processes, on one host and on two. A host is what shares a
folder: there the locks of stock Beaker are. "Changing": another process invalidates the key more
often than a load of it ends, and each caller calls five times. "Short lease": a load takes longer
than the lease lasts.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench.contenders import (
    CONTENDERS,
    ON_SERVERS,
    OURS,
    PATIENCE,
    Contender,
    Ours,
    OursFiles,
    Place,
    processes,
)
from bench.report import Row, arguments, report, spread
from tests.servers import Memcached, Redis

PROCESSES, THREADS = 8, 8
LOAD = 0.2
"""Seconds that the load takes."""
CHANGE = 0.15
"""Seconds between two changes, where the key is changed while it is loaded."""
CALLS = 5
"""Of each caller there."""
WARM, COLD = 0, 1
"""Keys: with one each caller connects, the other one all are after."""
TIMEOUT = 3
"""Seconds; the peers' default. Fifty callers on few cores are slow, which is no fault."""


class ShortLease(Ours):
    """With a lease that lasts half as long as a load."""

    def options(self, place: Place, timeout: float | None) -> dict[str, Any]:
        return {**super().options(place, timeout), "cache.ours.lease": LOAD / 2}


class ShortLeaseFiles(ShortLease, OursFiles):
    """As `ShortLease`, on files."""


SHORT = {f"{OURS}, short lease": ShortLease, f"{OURS}, files, short lease": ShortLeaseFiles}
STAMPEDING = CONTENDERS | SHORT


def callers(name: str, place: Place, times: int, loads: Any, start: Any, results: Any) -> None:
    """One process of callers; each reports when it began and when it had the value."""

    def load(key: int) -> str:
        if key == COLD:
            with loads.get_lock():
                loads.value += 1
            time.sleep(LOAD)
        return "loaded"

    contender = STAMPEDING[name](place, load, timeout=TIMEOUT)
    threads = [
        threading.Thread(target=call, args=(contender, times, start, results))
        for _ in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def call(contender: Contender, times: int, start: Any, results: Any) -> None:
    contender.call(WARM)
    start.wait()
    for _ in range(times):
        began = time.monotonic()
        value = contender.call(COLD)
        results.put((time.monotonic() - began, value))


def change(name: str, place: Place, start: Any, over: Any) -> None:
    """Invalidate the cold key again and again."""
    contender = STAMPEDING[name](place, str, timeout=TIMEOUT)
    contender.invalidate(WARM)
    start.wait()
    while not over.wait(CHANGE):
        contender.invalidate(COLD)


def turn(name: str, server: Memcached | Redis, hosts: int, changing: bool) -> tuple[int, float]:
    """Let one contender's callers go; return loads, and seconds of the slowest call."""
    server.flush()
    loads, over = processes.Value("q"), processes.Event()
    start = processes.Barrier(PROCESSES * THREADS + changing)
    times = CALLS if changing else 1
    results = processes.Queue()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        places = [
            Place(server.address, Path(folder) / f"host{number % hosts}")
            for number in range(PROCESSES)
        ]
        started = [
            processes.Process(
                target=callers, args=(name, place, times, loads, start, results), daemon=True
            )
            for place in places
        ]
        if changing:
            started.append(
                processes.Process(target=change, args=(name, places[0], start, over), daemon=True)
            )
        for process in started:
            process.start()
        calls = [results.get(timeout=PATIENCE) for _ in range(PROCESSES * THREADS * times)]
        over.set()
        for process in started:
            process.join()
    seconds, values = zip(*calls, strict=True)
    assert set(values) == {"loaded"}
    return loads.value, max(seconds)


def main() -> None:
    given = arguments(__doc__, full="twice as many rounds")
    rounds = 1 if given.quick else 6 if given.full else 3
    cases = [
        *((name, 1, False) for name in STAMPEDING),
        *((name, 2, False) for name in ON_SERVERS),
        # With a lock in memcached, dogpile.cache's callers wait for two minutes.
        *((name, 1, True) for name in CONTENDERS if "lock" not in name),
    ]
    turns: dict[tuple[str, int, bool], list[tuple[int, float]]] = {case: [] for case in cases}
    servers = {kind: kind() for kind in (Memcached, Redis)}
    for server in servers.values():
        server.start()
    for _ in range(rounds):
        for (name, hosts, changing), results in turns.items():
            results.append(turn(name, servers[STAMPEDING[name].server], hosts, changing))
    for server in servers.values():
        server.stop()
    rows: list[Row] = []
    for (name, hosts, changing), results in turns.items():
        loads, seconds = zip(*results, strict=True)
        rows.append(
            {
                "contender": f"{name}, changing" if changing else name,
                "hosts": hosts,
                "loads": statistics.median(loads),
                "loads, most": max(loads),
                "s, slowest call": round(statistics.median(seconds), 3),
                "s, 80 %": spread(seconds),
            }
        )
    settings = {
        "rounds": rounds,
        "processes": PROCESSES,
        "threads": THREADS,
        "load s": LOAD,
        "change each s": CHANGE,
    }
    report("stampede", given, settings, rows)


if __name__ == "__main__":
    main()
