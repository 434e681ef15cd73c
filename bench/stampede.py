"""Fifty callers of one cold key at once: how often it is loaded, and when all have it.

The callers are threads of five processes, on one host and on two. A host is what shares a folder:
there the locks of stock Beaker are.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench.contenders import CONTENDERS, ON_MEMCACHED, PATIENCE, Contender, Place, processes
from bench.report import Row, arguments, report, spread
from tests.servers import Memcached

PROCESSES, THREADS = 8, 8
LOAD = 0.2
"""Seconds that the load takes."""
WARM, COLD = 0, 1
"""Keys: with one each caller connects, the other one all are after."""
TIMEOUT = 3
"""Seconds; the peers' default. Fifty callers on few cores are slow, which is no fault."""


def callers(name: str, place: Place, loads: Any, start: Any, results: Any) -> None:
    """One process of callers; each reports when it began and when it had the value."""

    def load(key: int) -> str:
        if key == COLD:
            with loads.get_lock():
                loads.value += 1
            time.sleep(LOAD)
        return "loaded"

    contender = CONTENDERS[name](place, load, timeout=TIMEOUT)
    threads = [
        threading.Thread(target=call, args=(contender, start, results)) for _ in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def call(contender: Contender, start: Any, results: Any) -> None:
    contender.call(WARM)
    start.wait()
    began = time.monotonic()
    value = contender.call(COLD)
    results.put((began, time.monotonic(), value))


def turn(name: str, server: Memcached, hosts: int) -> tuple[int, float]:
    """Let one contender's callers go; return loads, and seconds until all have the value."""
    server.flush()
    loads, start = processes.Value("q"), processes.Barrier(PROCESSES * THREADS)
    results = processes.Queue()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        places = [
            Place(server.address, Path(folder) / f"host{number % hosts}")
            for number in range(PROCESSES)
        ]
        started = [
            processes.Process(
                target=callers, args=(name, place, loads, start, results), daemon=True
            )
            for place in places
        ]
        for process in started:
            process.start()
        times = [results.get(timeout=PATIENCE) for _ in range(PROCESSES * THREADS)]
        for process in started:
            process.join()
    begins, ends, values = zip(*times, strict=True)
    assert set(values) == {"loaded"}
    return loads.value, max(ends) - min(begins)


def main() -> None:
    given = arguments(__doc__)
    rounds = 1 if given.quick else 6
    cases = [(name, 1) for name in CONTENDERS] + [(name, 2) for name in ON_MEMCACHED]
    turns: dict[tuple[str, int], list[tuple[int, float]]] = {case: [] for case in cases}
    server = Memcached()
    server.start()
    for _ in range(rounds):
        for (name, hosts), results in turns.items():
            results.append(turn(name, server, hosts))
    server.stop()
    rows: list[Row] = []
    for (name, hosts), results in turns.items():
        loads, seconds = zip(*results, strict=True)
        rows.append(
            {
                "contender": name,
                "hosts": hosts,
                "loads": statistics.median(loads),
                "loads, most": max(loads),
                "s until all have it": round(statistics.median(seconds), 3),
                "s, 80 %": spread(seconds),
            }
        )
    settings = {"rounds": rounds, "processes": PROCESSES, "threads": THREADS, "load s": LOAD}
    report("stampede", given, settings, rows)


if __name__ == "__main__":
    main()
