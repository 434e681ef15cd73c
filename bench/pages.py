"""The task list under wrk: 50 tasks, with forms and CSRF protection, for one who is logged in.

Run it with ``python -m bench.pages [--full]``.

Stages of this project (nothing kept, the query, the whole page with holes)
beside an empty view of the same project, and beside the guides' application in its four stages
(`bench.guide`). The empty view passes all of the project's middleware. The stored page passes the
first of them, which answers equal requests. Each is served by gunicorn with two processes of its
default kind: with threads and connections that are kept, one of the two may get all connections.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report import Row, arguments, report, spread
from tests.beaker_regions.stores.proxies import Proxy
from tests.servers import Memcached, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
WORKERS, CONNECTIONS = 2, 16
TASKS = 50
WARMING = 20
"""Requests before anything is measured, and of those whose questions to memcached are counted."""
APART = 1.1
"""Seconds; an answer is repeated when it has stayed the same for one."""


@dataclass(frozen=True)
class Stage:
    """What is measured: an application as it is served."""

    name: str
    application: str
    stage: str
    path: str = "/"


STAGES = (
    Stage("an empty view", "bench.served.wsgi", "page", "/empty/"),
    Stage("an empty view that reads its session", "bench.served.wsgi", "page", "/known/"),
    Stage("nothing kept", "bench.served.wsgi", "uncached"),
    Stage("the query kept", "bench.served.wsgi", "query"),
    Stage("the whole page, with holes", "bench.served.wsgi", "page"),
    Stage("guide: nothing kept", "bench.guide.wsgi", "uncached"),
    Stage("guide: the query kept", "bench.guide.wsgi", "query"),
    Stage("guide: a fragment a row", "bench.guide.wsgi", "fragments"),
    Stage("guide: the whole page, no CSRF protection", "bench.guide.wsgi", "page"),
)


class Served:
    """A stage, served by gunicorn on a free port."""

    def __init__(self, stage: Stage, environment: dict[str, str]) -> None:
        self.stage = stage
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{stage.path}"
        self.headers = {"Cookie": environment["BENCH_COOKIE"]}
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", stage.application),
                *("--bind", f"127.0.0.1:{self.port}", "--workers", str(WORKERS)),
                *("--log-level", "warning", "--no-control-socket"),
            ],
            cwd=ROOT,
            env={**environment, "BENCH_STAGE": stage.stage},
        )

    def get(self) -> bytes:
        request = urllib.request.Request(self.url, headers=self.headers)
        with urllib.request.urlopen(request) as answer:
            return bytes(answer.read())

    def wait(self) -> bytes:
        """Return the first answer there is."""
        ends = time.monotonic() + 30
        while True:
            try:
                return self.get()
            except urllib.error.HTTPError:
                raise
            except OSError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.1)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@contextlib.contextmanager
def serving(stage: Stage, environment: dict[str, str]) -> Iterator[Served]:
    served = Served(stage, environment)
    try:
        yield served
    finally:
        served.stop()


def warm(served: Served) -> None:
    """Wait for the first answer, and ask until answers are repeated."""
    page = served.wait().decode()
    if served.stage.path == "/":
        assert page.count("Task number") >= TASKS, (
            f"{served.stage.name}: not the page: {page[:500]}"
        )
    for _ in range(2):
        for _ in range(WARMING):
            served.get()
        time.sleep(APART)


def measured(served: Served) -> tuple[float, float]:
    """Return requests in a second, during one, and the 99th percentile of their times in
    milliseconds."""
    done = subprocess.run(
        [
            *("wrk", "--threads", "1", "--connections", str(CONNECTIONS)),
            *("--duration", "1s", "--latency"),
            *("--header", f"Cookie: {served.headers['Cookie']}", served.url),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Non-2xx" not in done, done
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done)
    slowest = re.search(r"99%\s+([\d.]+)(us|ms|s)", done)
    assert rate, done
    assert slowest, done
    assert float(rate[1]), f"{served.stage.name}: no answer in a second; is the machine busy?"
    return float(rate[1]), float(slowest[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[slowest[2]]


def asked(stage: Stage, environment: dict[str, str], memcached: Memcached) -> tuple[float, float]:
    """Return how often a page asks memcached, and for how many keys."""
    proxy = Proxy(memcached.port)
    with serving(stage, using(proxy.address, environment)) as served:
        warm(served)
        proxy.requests.clear()
        for _ in range(WARMING):
            served.get()
    proxy.close()
    keys = sum(len(request.split()) - 1 for request in proxy.requests if request.startswith("get"))
    return len(proxy.requests) / WARMING, keys / WARMING


def using(address: str, environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "MEMCACHED_SERVERS": address, "GUIDE_MEMCACHED": address}


def prepared(folder: str, address: str) -> dict[str, str]:
    """Fill the databases of both applications, in ``folder``; return the environment that they run
    in, with the cookies of one who is logged in."""
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "REGIONS_DATA_DIR": f"{folder}/regions",
        "STATIC_ROOT": f"{folder}/static",
        "SECRET_KEY": "of the measurement alone",
        "GUIDE_DATABASE": f"{folder}/guide.sqlite3",
    }
    environment = using(address, environment)
    for application in ("bench.guide", "bench.served"):
        made = subprocess.run(
            [sys.executable, "-m", f"{application}.prepare", str(TASKS)],
            cwd=ROOT,
            env={**environment, "BENCH_STAGE": "page"},
            check=True,
            capture_output=True,
            text=True,
        )
    return {**environment, "BENCH_COOKIE": made.stdout.strip()}


def main() -> None:
    given = arguments(__doc__, full="twice as many rounds")
    rounds = 3 if given.quick else 20 if given.full else 10
    memcached = Memcached()
    memcached.start()
    rates: dict[str, list[float]] = {stage.name: [] for stage in STAGES}
    slowest: dict[str, list[float]] = {stage.name: [] for stage in STAGES}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = prepared(folder, memcached.address)
        with contextlib.ExitStack() as all_served:
            threads = all_served.enter_context(ThreadPoolExecutor(len(STAGES)))
            requests = list(threads.map(lambda each: asked(each, environment, memcached), STAGES))
            # All at once, and a second of each in turn: so a ratio compares neighbours in time.
            served = [all_served.enter_context(serving(each, environment)) for each in STAGES]
            list(threads.map(warm, served))
            for _ in range(rounds):
                for each in random.sample(served, len(served)):
                    rate, worst = measured(each)
                    rates[each.stage.name].append(rate)
                    slowest[each.stage.name].append(worst)
    memcached.stop()
    empty = rates[STAGES[0].name]
    rows: list[Row] = [
        {
            "stage": stage.name,
            "requests/s": round(statistics.median(rates[stage.name])),
            "to the empty view": round(
                statistics.median(
                    mine / other for mine, other in zip(rates[stage.name], empty, strict=True)
                ),
                2,
            ),
            "80 %": spread(rates[stage.name]),
            "p99 ms": round(statistics.median(slowest[stage.name]), 1),
            "asks memcached": round(requests_of_stage, 1),
            "for keys": round(keys, 1),
        }
        for stage, (requests_of_stage, keys) in zip(STAGES, requests, strict=True)
    ]
    settings = {
        "rounds": rounds,
        "workers": WORKERS,
        "connections": CONNECTIONS,
        "tasks": TASKS,
    }
    report("pages", given, settings, rows)


if __name__ == "__main__":
    main()
