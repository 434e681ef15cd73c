"""The tables of ``docs/scale.md``: what was measured, and what the model makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from bench.pages import WORKERS
from bench.scale import model
from bench.scale.functions import FRAGMENTS, HIT, MANY, MISS, RARE, TAG
from bench.scale.model import Costs, Site

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.report import Row
    from bench.scale.functions import Hits, Rounds, Work
    from bench.scale.served import Page

HOSTS = (1, 10, 100, 1_000)
CHANGES = {
    model.CONNECTIONS: "raise `-c`",
    model.NETWORK: "more memcached",
    model.PROCESSOR: "more memcached",
    model.HOT_KEY: "more memcached",
    model.INVALIDATIONS: "fewer changes",
}


class Measured(NamedTuple):
    """The medians of all that was measured."""

    hits: Mapping[int, Hits]
    """By number of processes."""
    works: Mapping[tuple[str, int], Work]
    """By operation and number of servers."""
    kept: Page
    made: Page
    rounds: Sequence[Rounds]
    connection_bytes: float
    cores: int

    @property
    def costs(self) -> Costs:
        one, hit, many = self.hits[1], self.works[HIT, 1], self.works[MANY, 1]
        key = (many.server_cpu - hit.server_cpu) / (many.keys - hit.keys)
        return Costs(
            hit_client=one.client_cpu,
            hit_server=one.server_cpu,
            hit_wait=max(0.0, one.seconds - one.client_cpu - one.server_cpu),
            round_trip=hit.server_cpu - hit.keys * key,
            key=key,
            change=self.works[TAG, 1].server_cpu,
            # Without the invalidation, and the request that finds nothing.
            miss_round_trips=self.works[MISS, 1].round_trips - 2,
            page_kept=self.kept.client_cpu,
            page_made=self.made.client_cpu,
            page_round_trips=self.kept.round_trips,
            page_keys=self.kept.keys,
            page_bytes_in=self.kept.bytes_in,
            page_bytes_out=self.kept.bytes_out,
        )


def tables(measured: Measured) -> dict[str, list[Row]]:
    """Return the document's tables by name."""
    return {
        "assumptions": assumptions(measured),
        "hosts": hosts(measured),
        "limits": limits(measured),
        "checks": checks(measured),
        "servers": servers(measured),
        "rounds": rounds(measured.rounds),
    }


def assumptions(measured: Measured) -> list[Row]:
    costs, site = measured.costs, Site()
    one, kept = measured.hits[1], measured.kept

    def micro(seconds: float) -> str:
        return f"{seconds * 1e6:,.1f} us"

    threads = f"{site.processes} processes of {site.threads} threads"
    network = f"{site.network / 1e9:.0f} Gbit/s"
    rare = micro(measured.works[RARE, 1].server_cpu)
    figures = [
        (
            "a hit: processor time of who asks",
            micro(costs.hit_client),
            "1 process and memcached, on one core",
        ),
        ("a hit: processor time of memcached", micro(costs.hit_server), "the same"),
        ("the same, when asked every 2 ms", rare, "the same, with pauses"),
        ("a hit: neither of them runs", micro(costs.hit_wait), "the same, by the clock"),
        (
            "a hit: bytes to and from memcached",
            f"{one.bytes_in:.0f} and {one.bytes_out:,.0f}",
            f"its `stats`; {one.keys:.0f} keys in 1 request",
        ),
        (
            "a request: processor time of memcached",
            micro(costs.round_trip),
            f"a hit, and `many` of {FRAGMENTS}",
        ),
        ("each of its keys, on top", micro(costs.key), "the same"),
        (
            "a request of an invalidation",
            micro(costs.change),
            "1 process and memcached, on one core",
        ),
        (
            "a load: requests after the one that found nothing",
            f"{costs.miss_round_trips:.0f}",
            "counted by a proxy",
        ),
        (
            "a kept page: processor time of the application",
            f"{costs.page_kept * 1e3:.2f} ms",
            "the task list, 50 tasks, gunicorn and wrk",
        ),
        (
            "a page rendered again: the same",
            f"{costs.page_made * 1e3:.2f} ms",
            "its query and template",
        ),
        (
            "a kept page: requests and keys",
            f"{kept.round_trips:.3g} and {kept.keys:.3g}",
            "counted by a proxy",
        ),
        (
            "a kept page: bytes to and from memcached",
            f"{kept.bytes_in:,.0f} and {kept.bytes_out:,.0f}",
            "its `stats`",
        ),
        (
            f"connections of {WORKERS} processes of one thread",
            f"{kept.connections}",
            "memcached's `stats`",
        ),
        (
            "a connection: memory of memcached",
            f"{measured.connection_bytes:,.0f} bytes",
            "its resident memory, 900 at rest; the kernel's is not in it",
        ),
        ("a host", f"{site.cores} processors; {threads}", "assumed, as `deploy/gunicorn.conf.py`"),
        ("how busy hosts are", f"{site.busy:.0%}", "assumed"),
        ("requests that change something", f"{site.writes:.0%}", "assumed"),
        ("memcached", f"{site.servers} of {site.server_threads} threads", "assumed; `-t` is 4"),
        ("its connections and network", f"{site.max_connections:,}; {network}", "`-c`; assumed"),
    ]
    return [dict(zip(("figure", "value", "from"), each, strict=True)) for each in figures]


def hosts(measured: Measured) -> list[Row]:
    """Return the table of the model: a column a number of hosts."""
    costs, columns = measured.costs, {}
    for number in HOSTS:
        site = replace(Site(), hosts=number)
        demand = model.demand(site, costs)
        needed = model.servers_needed(site, costs)
        over = [limit for limit in model.LIMITS if demand.limits[limit] > model.MOST]
        columns[f"{number:,}"] = {
            "pages a second": about(demand.pages),
            "changes a second, in the database": about(demand.writes),
            f"**each of {site.servers} memcached:** requests a second": about(demand.round_trips),
            "keys a second": about(demand.keys),
            "requests a second of changes": about(demand.changes),
            "Gbit/s out": f"{8 * demand.bytes_out / 1e9:.2g}",
            "processors at work": f"{demand.processors:.2g}",
            "connections": f"{demand.connections:,}",
            f"**over {model.MOST:.0%} of**": ", ".join(over) or "nothing",
            "**to change**": ", ".join(dict.fromkeys(CHANGES[limit] for limit in over))
            or "nothing",
            "memcached needed, with enough connections": f"{needed:,}"
            if needed
            else "none will do",
        }
    names = next(iter(columns.values()))
    return [{"hosts": name, **{at: each[name] for at, each in columns.items()}} for name in names]


def limits(measured: Measured) -> list[Row]:
    """Return at how many hosts each limit is reached, the first one first."""
    costs, site = measured.costs, Site()
    alone = replace(site, servers=1)
    reached = {limit: model.hosts_at(limit, site, costs) for limit in model.LIMITS}
    number, most = max(measured.hits.items(), key=lambda each: each[1].server_cpu)
    times = most.server_cpu / costs.hit_server
    slow = replace(costs, round_trip=times * costs.round_trip, key=times * costs.key)
    reached[f"{model.PROCESSOR}, if hits cost it what they do at {number} processes"] = (
        model.hosts_at(model.PROCESSOR, site, slow)
    )
    reached["one page that everybody reads"] = min(
        model.hosts_at(limit, alone, costs) for limit in model.LIMITS if limit != model.CONNECTIONS
    )
    return [
        {"limit": limit, f"hosts, with {site.servers} memcached": about(number)}
        for limit, number in sorted(reached.items(), key=lambda each: each[1])
    ]


def about(number: float) -> str:
    """Return a number to two digits: more would promise too much."""
    return f"{float(f'{number:.2g}'):,.0f}"


def checks(measured: Measured) -> list[Row]:
    """Return what the model says beside what was measured."""
    costs, kept = measured.costs, measured.kept
    pairs: dict[str, tuple[float, float]] = {}
    for number, hits in measured.hits.items():
        says = model.throughput(costs, number, measured.cores)
        pairs[f"hits a second, processes: {number}"] = (says, hits.a_second)
    most = max(measured.hits)
    pairs[f"connections of {most} processes"] = (most, measured.hits[most].connections)
    for (what, number), work in measured.works.items():
        if what == MANY and number > 1:
            asked = model.servers_asked(number, FRAGMENTS)
            cpu = asked * costs.round_trip + work.keys * costs.key
            pairs[f"{MANY}, servers: {number}; requests"] = (asked, work.round_trips)
            pairs[f"{MANY}, servers: {number}; us of memcached"] = (
                cpu * 1e6,
                work.server_cpu * 1e6,
            )
        if what == TAG and number > 1:
            cpu = model.CHANGES * number * costs.change
            pairs[f"{TAG}, servers: {number}; us of memcached"] = (cpu * 1e6, work.server_cpu * 1e6)
    cpu = kept.round_trips * costs.round_trip + kept.keys * costs.key
    pairs["a kept page: us of memcached"] = (cpu * 1e6, kept.server_cpu * 1e6)
    return [
        {"": what, "model": says, "measured": found, "off": f"{round(100 * (says / found - 1))} %"}
        for what, (says, found) in pairs.items()
    ]


def servers(measured: Measured) -> list[Row]:
    """Return what operations take on several servers."""
    return [
        {
            "": work.what,
            "servers": work.servers,
            "a second": round(work.a_second),
            "us": work.seconds * 1e6,
            "requests": work.round_trips,
            "keys": round(work.keys),
            "us of memcached": work.server_cpu * 1e6,
        }
        for work in sorted(measured.works.values(), key=lambda work: (work.what, work.servers))
        if work.what not in (HIT, RARE)
    ]


def rounds(measured: Sequence[Rounds]) -> list[Row]:
    """Return how often operations wait for several servers."""
    return [
        {
            "": each.what,
            "servers": each.servers,
            "requests": each.requests,
            "rounds": round(each.rounds, 1),
        }
        for each in sorted(measured, key=lambda each: (each.what, each.servers))
    ]
