"""What one machine does at 1 to 8 processes, and a model of 1 to 1,000 hosts made of it.

Without ``--quick`` and ``--output``, a run also writes the tables of docs/scale.md, and
docs/scale.svg. It needs wrk, and a machine with nothing else to do for two minutes.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from typing import TYPE_CHECKING, Any, TypeVar

from bench.pages import WORKERS
from bench.report import Row, arguments, report, spread, table
from bench.scale import document
from bench.scale.functions import Hits, Work, hits, rounds, works
from bench.scale.served import Page, measured_pages
from bench.scale.servers import connection_bytes
from bench.scale.tables import Measured, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROCESSES = (1, 2, 4, 8)
SERVERS = (1, 2, 3)
FAR_SERVERS = (1, 3, 10)
T = TypeVar("T", Hits, Work)


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Let what is started in this block share one core: it never rests, so what is measured of one
    process is what it costs when many keep all cores at work."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def medians(samples: Sequence[T]) -> T:
    """Return the median of each figure of samples of one thing."""
    columns = zip(*samples, strict=True)
    return type(samples[0])(*map(_median, columns))


def _median(column: Sequence[Any]) -> Any:
    # What is the same in all of them may be a name.
    return column[0] if len(set(column)) == 1 else statistics.median(column)


def row(what: str, figures: Hits | Work | Page, rates: Sequence[float], **about: int) -> Row:
    """Return a line of the results; what does not belong to it stays empty."""
    of = figures._asdict().get

    def micro(name: str) -> float | str:
        seconds = of(name)
        return "" if seconds is None else round(seconds * 1e6, 2)

    return {
        "what": what,
        "processes": about.get("processes", 1),
        "servers": about.get("servers", 1),
        "a second": round(figures.a_second),
        "80 %": spread(rates),
        "us": micro("seconds"),
        "client us": micro("client_cpu"),
        "memcached us": micro("server_cpu"),
        "requests": of("round_trips", ""),
        **{
            name: "" if (found := of(name.replace(" ", "_"))) is None else round(found, 2)
            for name in ("keys", "bytes in", "bytes out", "connections")
        },
    }


def main() -> None:
    given = arguments(__doc__, full="seven rounds, and not four")
    times, seconds = (1, 0.3) if given.quick else (7 if given.full else 4, 1.5)
    all_hits: dict[int, list[Hits]] = {number: [] for number in PROCESSES}
    all_works: dict[tuple[str, int], list[Work]] = {}
    for _ in range(times):
        for number, samples in all_hits.items():
            with one_core() if number == 1 else contextlib.nullcontext():
                samples.append(hits(number, seconds))
        with one_core():
            for servers in SERVERS:
                for work in works(servers, seconds / 3):
                    all_works.setdefault((work.what, work.servers), []).append(work)
    kept, made = measured_pages(times)
    measured = Measured(
        {number: medians(samples) for number, samples in all_hits.items()},
        {case: medians(samples) for case, samples in all_works.items()},
        kept,
        made,
        [each for number in FAR_SERVERS for each in rounds(number, 3 * times)],
        connection_bytes(900),
        len(os.sched_getaffinity(0)),
    )
    rows = [
        row("hits of 50 rows", hits, [each.a_second for each in all_hits[number]], processes=number)
        for number, hits in measured.hits.items()
    ]
    rows += [
        row(each.what, each, [one.a_second for one in all_works[case]], servers=each.servers)
        for case, each in measured.works.items()
    ]
    rows += [
        row(f"a page, {page.stage}", page, [page.a_second], processes=WORKERS)
        for page in (kept, made)
    ]
    rows += [
        {"what": f"rounds of {each.what}", "processes": 1, "servers": each.servers}
        | {"requests": each.requests, "rounds": round(each.rounds, 2)}
        for each in measured.rounds
    ]
    settings = {
        "rounds": times,
        "seconds a turn": seconds,
        "bytes a connection": round(measured.connection_bytes),
    }
    report("scale", given, settings, rows)
    for name, lines in tables(measured).items():
        print(f"\n{name}\n\n{table(lines)}")
    if not given.quick and given.output is None:
        document.write(measured)


if __name__ == "__main__":
    main()
