"""The deployed site under wrk, while a memcached is killed, comes back empty, hangs and goes on.

Run it with ``python -m bench.deployed``.

nginx with TLS, two gunicorn, three memcached and a MariaDB run with the files in ``deploy/``. wrk
asks for a list of 50 tasks, a second at a time (a line of the transcript each): in turn for one
whose page and session are kept by the memcached that things happen to, and for another user's,
kept elsewhere. At the same time the first user adds a task every half second in another browser,
and reads the list back, four times: a read is stale when the task is not there. Needs Debian's wrk
and nginx-light.
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bench.report import Row, arguments, report
from tests.deploy.stack import Stack, deployed
from tests.deploy.visitors import Visitor
from tests.servers import Memcached

CONNECTIONS = 16
TASKS = 50
PAUSE = 0.5
"""Seconds between two changes."""
READ_BACK = 4
"""Times; two servers with two processes each answer in turn."""
HISTOGRAM = Path(__file__).with_name("histogram.lua")
NAME, PASSWORD = "reader", "correct-horse-battery"
SETTLING = 0.3
"""Seconds between two slices, in which what was asked for last is answered."""
PAGES = 20
"""By which it is seen what a page asks of each memcached."""

PHASES: dict[str, Callable[[Memcached], None]] = {
    "all up": lambda _: None,
    "one is killed": Memcached.kill,
    "it is back, empty": Memcached.start,
    "one hangs": Memcached.pause,
    "it goes on": Memcached.resume,
}
"""What happens to the memcached, one after the other."""


class Slice(NamedTuple):
    """What wrk says of a second."""

    rate: float
    """Requests a second."""
    refused: int
    """Answers that are errors."""
    failed: int
    """Requests without an answer."""
    latencies: Counter[int]
    """How many answers took how many microseconds."""


@dataclass
class Series:
    """What was seen in a phase by one of those who read, in all rounds."""

    slices: list[list[Slice]] = field(default_factory=list)
    """Of each round."""
    writes: int = 0
    stale: int = 0
    errors: int = 0
    """Of the writer."""
    worst: float = 0.0
    """Seconds; the longest that the writer waited for an answer."""

    def rates(self) -> list[float]:
        """Return the median of requests a second, of each round."""
        return [statistics.median(each.rate for each in slices) for slices in self.slices]

    def row(self, first: Series) -> Row:
        slices = [each for of_a_round in self.slices for each in of_a_round]
        latencies = sum((each.latencies for each in slices), Counter[int]())
        compared = zip(self.rates(), first.rates(), strict=True)
        return {
            "requests/s": round(statistics.median(self.rates())),
            "to the first": round(statistics.median(mine / other for mine, other in compared), 2),
            "p50 ms": milliseconds(latencies, 0.5),
            "p99 ms": milliseconds(latencies, 0.99),
            "worst ms": milliseconds(latencies, 1),
            "not 2xx": sum(each.refused for each in slices),
            "no answer": sum(each.failed for each in slices),
            "writes": self.writes,
            "stale": self.stale,
            "writer's errors": self.errors,
            "writer's worst ms": round(self.worst * 1e3),
        }

    def is_broken(self) -> bool:
        slices = [each for of_a_round in self.slices for each in of_a_round]
        return bool(
            self.stale
            or self.errors
            or any(each.refused or each.failed for each in slices)
            or not self.writes
        )


def milliseconds(latencies: Counter[int], share: float) -> float:
    """Return the latency that this share of the answers does not exceed."""
    left = share * latencies.total()
    for latency in sorted(latencies):
        left -= latencies[latency]
        if left <= 0:
            return round(latency / 1e3, 1)
    return math.inf  # nothing was answered


class Writer(threading.Thread):
    """Adds tasks, and reads them back, until ``ended``; counts in ``series``."""

    def __init__(self, visitor: Visitor, series: Series) -> None:
        super().__init__()
        self.series = series
        self.ended = threading.Event()
        self._visitor = visitor

    def run(self) -> None:
        number = 0
        while not self.ended.wait(PAUSE):
            number += 1
            self._write(f"Written as number {number}.")

    def _write(self, name: str) -> None:
        series = self.series
        series.writes += 1
        if self._ask(series, lambda: self._visitor.submit("/", name=name).status) != 200:
            return
        for _ in range(READ_BACK):
            text = self._ask(series, lambda: self._visitor.get("/").text)
            series.stale += isinstance(text, str) and name not in text

    def _ask(self, series: Series, ask: Callable[[], int | str]) -> int | str | None:
        started = time.monotonic()
        try:
            answer = ask()
        except (OSError, AssertionError):
            answer = None
        series.worst = max(series.worst, time.monotonic() - started)
        series.errors += answer is None or (isinstance(answer, int) and answer != 200)
        return answer


def measured(visitor: Visitor) -> Slice:
    """Let wrk ask for the list, as this visitor, for a second."""
    cookies = "; ".join(f"{each.name}={each.value}" for each in visitor.cookies)
    done = subprocess.run(
        [
            *("wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", "1s"),
            *("--header", f"Cookie: {cookies}", "--script", str(HISTOGRAM), f"{visitor.address}/"),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    counts = re.search(r"^counts: (\d+) (\d+) (\d+) (\d+)$", done, re.MULTILINE)
    latencies = re.search(r"^latencies:([ \d]*)$", done, re.MULTILINE)
    assert counts, done
    assert latencies, done
    requests, duration, refused, failed = map(int, counts.groups())
    numbers = list(map(int, latencies[1].split()))
    found = Counter(dict(zip(numbers[::2], numbers[1::2], strict=True)))
    return Slice(requests / duration * 1e6, refused, failed, found)


def signed_up(stack: Stack, name: str) -> Visitor:
    """Return a browser with a new user."""
    visitor = Visitor(stack.nginx)
    visitor.submit("/accounts/signup/", username=name, password1=PASSWORD, password2=PASSWORD)
    return visitor


def fill(visitor: Visitor) -> None:
    for number in range(TASKS):
        visitor.submit("/", name=f"Task number {number}")
    assert visitor.get("/").text.count("Task number") >= TASKS


def asked(stack: Stack, visitor: Visitor) -> list[int]:
    """Return how many keys a page asks of each memcached."""
    visitor.get("/")
    before = [server.stats()["cmd_get"] for server in stack.memcached]
    for _ in range(PAGES):
        visitor.get("/")
    after = [server.stats()["cmd_get"] for server in stack.memcached]
    return [round((end - start) / PAGES) for start, end in zip(before, after, strict=True)]


def visitors(stack: Stack) -> tuple[dict[str, Visitor], Visitor, Memcached]:
    """Return those who read, by where their pages are kept, who writes, and the memcached that
    things happen to."""
    reader, writer = signed_up(stack, NAME), Visitor(stack.nginx)
    writer.submit("/accounts/login/", username=NAME, password=PASSWORD)
    keys = asked(stack, reader)
    which = keys.index(max(keys))
    for number in itertools.count():
        other = signed_up(stack, f"{NAME}-{number}")
        if not asked(stack, other)[which]:
            break
    fill(reader)
    fill(other)
    return {"on it": reader, "elsewhere": other}, writer, stack.memcached[which]


def main() -> int:
    given = arguments(__doc__)
    rounds, seconds = (1, 2) if given.quick else (3, 5)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        deployed(Path(folder), ("gunicorn", "gunicorn")) as stack,
    ):
        readers, other, memcached = visitors(stack)
        series = {(phase, place): Series() for phase in PHASES for place in readers}
        for reader in readers.values():
            measured(reader)
        writer = Writer(other, next(iter(series.values())))
        writer.start()
        started = time.monotonic()
        try:
            for _ in range(rounds):
                for phase, happen in PHASES.items():
                    happen(memcached)
                    for place in readers:
                        series[phase, place].slices.append([])
                    for place, reader in list(readers.items()) * seconds:
                        time.sleep(SETTLING)
                        writer.series = series[phase, place]
                        found = measured(reader)
                        series[phase, place].slices[-1].append(found)
                        print(line(time.monotonic() - started, phase, place, found), flush=True)
        finally:
            writer.ended.set()
            writer.join()
    settings = {
        "rounds": rounds,
        "seconds a phase": seconds,
        "connections": CONNECTIONS,
        "tasks": TASKS,
    }
    first = next(iter(PHASES))
    rows = [
        {"phase": phase, "list kept": place, **each.row(series[first, place])}
        for (phase, place), each in series.items()
    ]
    print()
    report("deployed", given, settings, rows)
    return any(each.is_broken() for each in series.values())


def line(seconds: float, phase: str, place: str, found: Slice) -> str:
    """Return a line of the transcript."""
    p50, p99, worst = (milliseconds(found.latencies, share) for share in (0.5, 0.99, 1))
    return (
        f"{seconds:5.1f} s  {phase:18}{place:10}{found.rate:6.0f} requests/s"
        f"  p50 {p50:5.1f}  p99 {p99:5.1f}  worst {worst:5.1f} ms"
        f"  {found.refused} not 2xx  {found.failed} without answer"
    )


if __name__ == "__main__":
    sys.exit(main())
