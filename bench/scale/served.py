"""What a page of the task list takes, under gunicorn and wrk (`bench.pages`)."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import pages
from bench.scale.servers import connected, memcached, spent

if TYPE_CHECKING:
    from tests.servers import Memcached

KEPT = pages.Stage("kept", "bench.served.wsgi", "page")
MADE = pages.Stage("rendered again", "bench.served.wsgi", "uncached")
_TICK = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds; what the kernel tells processor time in."""


class Page(NamedTuple):
    """What a page of the task list takes, under gunicorn and wrk."""

    stage: str
    a_second: float
    """Of all processes, with wrk on the same machine."""
    client_cpu: float
    """Seconds of processor time of gunicorn."""
    server_cpu: float
    """The same of memcached."""
    round_trips: float
    keys: float
    bytes_in: float
    bytes_out: float
    connections: int


def _cpu_of(pid: int) -> float:
    """Return the seconds of processor time that a process has used, in all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK  # utime and stime, of proc(5)


class _Served(pages.Served):
    def cpu(self) -> float:
        """Return the seconds of processor time of its processes."""
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return sum(_cpu_of(pid) for pid in (parent, *map(int, children)))


def measured_pages(times: int) -> list[Page]:
    """Serve the kept page and the one that is rendered again, each ``times`` seconds long."""
    with memcached(1) as (server,), tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = pages.prepared(folder, server.address)
        return [_page(stage, environment, server, times) for stage in (KEPT, MADE)]


def _page(stage: pages.Stage, environment: dict[str, str], server: Memcached, times: int) -> Page:
    trips, keys = pages.asked(stage, environment, server)
    served = _Served(stage, environment)
    try:
        served.wait()
        pages.measured(served)  # until every thread has its connections
        before, cpu = spent([server]), served.cpu()
        rates, count = [], 0.0
        for _ in range(times):
            started = time.perf_counter()
            rates.append(pages.measured(served).rate)
            # wrk tells the rate alone, and runs for a second or a tenth more.
            count += rates[-1] * (time.perf_counter() - started)
        used, cpu = spent([server]) - before, served.cpu() - cpu
        connections = connected(server)
    finally:
        served.stop()
    return Page(
        stage.name,
        a_second=statistics.median(rates),
        client_cpu=cpu / count,
        server_cpu=used.cpu / count,
        round_trips=trips,
        keys=keys,
        bytes_in=used.bytes_in / count,
        bytes_out=used.bytes_out / count,
        connections=connections,
    )
