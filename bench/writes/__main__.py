"""Every way to write with Django's ORM, for this library, cacheops and cachalot: fresh or stale.

Run it with ``python -m bench.writes``.

Each contender has two processes in which no other runs, and the same SQLite database. Before each
write, both processes have read all answers, and a further read is a hit. After it both read again:
an answer that is not the database's is stale. An answer is loaded needlessly if the write did not
change it, and it was stored no longer.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench.contenders import PATIENCE, processes
from bench.report import Row, arguments, report
from bench.writes.contenders import CONTENDERS, Servers
from bench.writes.turns import FRESH, beside, write
from tests.servers import SEARCH_PATH, Memcached, Redis


def turn(name: str, memcached: Memcached, redis: Redis) -> tuple[dict[str, str], dict[str, int]]:
    """Let one contender write; return the outcome of each way, and its needless loads."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        servers = Servers(memcached.address, redis.url, Path(folder))
        here, there = multiprocessing.Pipe()
        results: Any = processes.Queue()
        both = [
            processes.Process(target=write, args=(name, servers, here, results), daemon=True),
            processes.Process(target=beside, args=(name, servers, there), daemon=True),
        ]
        for process in both:
            process.start()
        found: tuple[dict[str, str], dict[str, int]] = results.get(timeout=PATIENCE)
        for process in both:
            process.join(PATIENCE)
    return found


def redis_version() -> str:
    shown = subprocess.run(
        ["redis-server", "--version"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": SEARCH_PATH},
    )
    return shown.stdout.split("v=")[1].split()[0]


def main() -> None:
    given = arguments(__doc__)
    memcached, redis = Memcached(), Redis()
    memcached.start()
    redis.start()
    found = {name: turn(name, memcached, redis) for name in CONTENDERS}
    memcached.stop()
    redis.stop()
    ways = next(iter(found.values()))[0]
    rows: list[Row] = [
        {"write": way, **{name: outcomes[way] for name, (outcomes, _) in found.items()}}
        for way in ways
    ]
    fresh = {
        name: sum(each == FRESH for each in outcomes.values())
        for name, (outcomes, _) in found.items()
    }
    rows.append({"write": f"fresh, of {len(ways)}", **fresh})
    needless = {name: sum(counts.values()) for name, (_, counts) in found.items()}
    rows.append({"write": "loads of answers that had not changed", **needless})
    report("writes", given, {"database": "SQLite", "Redis": redis_version()}, rows)


if __name__ == "__main__":
    main()
