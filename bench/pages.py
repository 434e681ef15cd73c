"""The task list under wrk: 50 tasks, with forms and CSRF protection, for one who is logged in.

Run it with ``python -m bench.pages [--full]``.

Stages of this project (nothing kept, the query, the whole page with holes)
beside an empty view of the same project, and beside the guides' application in its four stages
(`bench.guide`). The empty view passes Django's handler and all of the project's middleware. The
stored page is answered before them, because equal requests are. Each is served by gunicorn with
processes of its default kind: with threads and connections that are kept, one of them may get all
connections.

Beside the rate there is the processor's time that the server's processes and memcached take for a
request. Other programs of the machine change it less.
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
from typing import TYPE_CHECKING, NamedTuple

from bench.report import Row, arguments, report, spread
from tests.beaker_regions.stores.proxies import Proxy
from tests.servers import Memcached, free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[1]
WORKERS, CONNECTIONS = 3, 16
"""One process more than processors: each waits now and then, for memcached, and for its client to
close."""
TASKS = 50
COUNTED = 20
"""Requests whose questions to memcached are counted."""
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

    def __init__(self, stage: Stage, environment: dict[str, str], workers: int = WORKERS) -> None:
        self.stage = stage
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{stage.path}"
        self.headers = {"Cookie": environment["BENCH_COOKIE"]}
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", stage.application),
                *("--bind", f"127.0.0.1:{self.port}", "--workers", str(workers)),
                *("--log-level", "warning", "--no-control-socket", "--preload"),
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

    def workers(self) -> list[int]:
        """Return its processes."""
        pid = self._process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@contextlib.contextmanager
def serving(stage: Stage, environment: dict[str, str], workers: int = WORKERS) -> Iterator[Served]:
    served = Served(stage, environment, workers)
    try:
        yield served
    finally:
        served.stop()


def await_page(served: Served) -> None:
    """Wait for the first answer."""
    page = served.wait().decode()
    if served.stage.path == "/":
        assert page.count("Task number") >= TASKS, f"{served.stage.name}: not the page: {page}"


class Second(NamedTuple):
    """What wrk says of one second."""

    rate: float
    requests: int
    p99: float
    """Milliseconds."""


def measured(served: Served) -> Second:
    """Ask for a second."""
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
    number = re.search(r"(\d+) requests in", done)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done)
    slowest = re.search(r"99%\s+([\d.]+)(us|ms|s)", done)
    assert number, done
    assert rate, done
    assert slowest, done
    assert float(rate[1]), f"{served.stage.name}: no answer in a second; is the machine busy?"
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0}[slowest[2]]
    return Second(float(rate[1]), int(number[1]), float(slowest[1]) * unit)


def processor_time(processes: Iterable[int]) -> float:
    """Return the seconds that processes have had a processor."""
    # The clocks of the processes, as clock_getcpuclockid(3) makes them.
    return sum(time.clock_gettime(~process << 3 | 2) for process in processes)


def asked(stage: Stage, environment: dict[str, str], memcached: Memcached) -> tuple[float, float]:
    """Return how often a page asks memcached, and for how many keys."""
    proxy = Proxy(memcached.port)
    with serving(stage, using(proxy.address, environment), workers=1) as served:
        await_page(served)
        for _ in range(2):
            for _ in range(COUNTED):
                served.get()
            time.sleep(APART)
        proxy.requests.clear()
        for _ in range(COUNTED):
            served.get()
    proxy.close()
    keys = sum(len(request.split()) - 1 for request in proxy.requests if request.startswith("get"))
    return len(proxy.requests) / COUNTED, keys / COUNTED


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


def to_the_empty_view(figures: dict[str, list[float]], stage: Stage) -> float:
    """Return the ratio of a stage's figures to those of the same rounds."""
    pairs = zip(figures[stage.name], figures[STAGES[0].name], strict=True)
    return round(statistics.median([mine / other for mine, other in pairs]), 2)


def main() -> None:
    given = arguments(__doc__, full="twice as many rounds")
    rounds = 3 if given.quick else 20 if given.full else 10
    memcached = Memcached()
    memcached.start()
    assert memcached.process is not None
    seconds: dict[str, list[Second]] = {stage.name: [] for stage in STAGES}
    micros: dict[str, list[float]] = {stage.name: [] for stage in STAGES}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = prepared(folder, memcached.address)
        with contextlib.ExitStack() as all_served:
            threads = all_served.enter_context(ThreadPoolExecutor(len(STAGES)))
            requests = list(threads.map(lambda each: asked(each, environment, memcached), STAGES))
            # All at once, and a second of each in turn: so a ratio compares neighbours in time.
            served = [all_served.enter_context(serving(each, environment)) for each in STAGES]
            list(threads.map(await_page, served))
            for _ in range(2):
                for each in served:
                    measured(each)  # until each process repeats its answers
            for _ in range(rounds):
                for each in random.sample(served, len(served)):
                    processes = [*each.workers(), memcached.process.pid]
                    before = processor_time(processes)
                    second = measured(each)
                    spent = processor_time(processes) - before
                    seconds[each.stage.name].append(second)
                    micros[each.stage.name].append(spent / second.requests * 1e6)
    memcached.stop()
    rates = {name: [each.rate for each in turns] for name, turns in seconds.items()}
    rows: list[Row] = [
        {
            "stage": stage.name,
            "requests/s": round(statistics.median(rates[stage.name])),
            "to the empty view": to_the_empty_view(rates, stage),
            "80 %": spread(rates[stage.name]),
            "p99 ms": round(statistics.median([each.p99 for each in seconds[stage.name]]), 1),
            "us of the processor": round(statistics.median(micros[stage.name])),
            "us, to the empty view": to_the_empty_view(micros, stage),
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
