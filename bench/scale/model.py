"""What hosts ask of memcached, from what a page and a request of it cost: arithmetic alone.

A cached page asks one server for each entry it needs: the entry's record together with all its
generations, and every server has a copy of its own. So hits spread over the servers, and no
generation is asked for at one place; but a tag that is invalidated is changed on every server.
Throughput has the bounds of operational analysis (Denning and Buzen, "The operational analysis of
queueing network models", ACM Computing Surveys 10(3), 1978): what the processes can ask when they
never wait for a processor, and what the processors can do when they never rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple


@dataclass(frozen=True)
class Costs:
    """What was measured. Seconds are of processor time, unless they say otherwise."""

    hit_client: float
    """Seconds of the process that asks, a hit of a function."""
    hit_server: float
    """Seconds of memcached, a hit."""
    hit_wait: float
    """Seconds by the clock, a hit, in which neither of the two runs."""
    round_trip: float
    """Seconds of memcached for a request of any kind."""
    key: float
    """Seconds of memcached, a key of a request, on top of that."""
    change: float
    """Seconds of memcached, a request to change a scope that is invalidated."""
    miss_round_trips: float
    """Requests of an entry that is loaded again, after the one that found nothing."""
    page_kept: float
    """Seconds of the application, a page that is kept."""
    page_made: float
    """Seconds of the application, a page that is rendered again."""
    page_round_trips: float
    page_keys: float
    page_bytes_in: float
    page_bytes_out: float


@dataclass(frozen=True)
class Site:
    """What is assumed."""

    hosts: int = 1
    processes: int = 4
    """A host."""
    threads: int = 8
    """A process."""
    cores: int = 4
    """A host."""
    busy: float = 0.5
    """Share of the application's processors that is at work: a site needs a reserve."""
    writes: float = 0.05
    """Share of requests that change a row and invalidate a tag. One costs what making a page costs,
    and the next reader's page is rendered again, too."""
    servers: int = 3
    """Memcached, of equal weight."""
    server_threads: int = 4
    """A memcached, each with a processor: its option -t."""
    network: float = 10e9
    """Bits a second, a memcached, each way."""
    max_connections: int = 1024
    """A memcached: its option -c."""


CHANGES = 3
"""Commands to each of several servers, a scope that is invalidated: it is announced and looked for
in one message, and replaced in another (`beaker_regions.stores.servers.generations`). One server
alone takes one command."""

CONNECTIONS, NETWORK, PROCESSOR = "connections", "network", "processor"
HOT_KEY, INVALIDATIONS = "hot generation", "invalidations"
LIMITS = (CONNECTIONS, NETWORK, PROCESSOR, HOT_KEY, INVALIDATIONS)


class Demand(NamedTuple):
    """What a site asks, a second; of memcached, each server's part."""

    pages: float
    """Requests to the application that do not write, all hosts together."""
    writes: float
    round_trips: float
    keys: float
    changes: float
    """Requests on top of these, of invalidations."""
    bytes_in: float
    bytes_out: float
    processors: float
    """Of a memcached, at work."""
    connections: int
    """To a memcached."""
    limits: dict[str, float]
    """The share of each limit that is used up; above 1 the site does not run like this.

    Invalidations are a part of the processor's, and the one that more servers do not relieve.
    """


def demand(site: Site, costs: Costs) -> Demand:
    """Return what a site asks of each memcached while its hosts are as busy as `Site.busy`."""
    made = 2 * site.writes
    request = (1 - made) * costs.page_kept + made * costs.page_made
    requests = site.hosts * site.cores * site.busy / request
    writes = requests * site.writes
    pages = requests - writes
    # Each page that is rendered again stores the entries that a kept one reads.
    misses = writes * costs.page_round_trips
    round_trips = pages * costs.page_round_trips + misses * costs.miss_round_trips
    keys = pages * costs.page_keys
    share = 1 / site.servers
    bytes_in = requests * costs.page_bytes_in + misses * costs.page_bytes_out
    bytes_out = requests * costs.page_bytes_out
    changes = writes * (CHANGES if site.servers > 1 else 1)
    invalidating = changes * costs.change
    hits = round_trips * costs.round_trip + keys * costs.key
    processors = hits * share + invalidating
    connections = site.hosts * site.processes * site.threads
    return Demand(
        pages=pages,
        writes=writes,
        round_trips=round_trips * share,
        keys=keys * share,
        changes=changes,
        bytes_in=bytes_in * share,
        bytes_out=bytes_out * share,
        processors=processors,
        connections=connections,
        limits={
            CONNECTIONS: connections / site.max_connections,
            NETWORK: 8 * max(bytes_in, bytes_out) * share / site.network,
            PROCESSOR: processors / site.server_threads,
            # With every request the region's generation is read, under that key's lock: for no
            # longer than a key takes in all.
            HOT_KEY: round_trips * share * costs.key,
            INVALIDATIONS: invalidating / site.server_threads,
        },
    )


MOST = 0.7
"""Share of a limit that may be used up before there is too little left for a server that fails."""


def servers_needed(site: Site, costs: Costs) -> int | None:
    """Return how many memcached keep what they share below `MOST` of each limit; None when no
    number does, because invalidations reach each of them. Connections do not count: every server
    has all of them."""
    alone = demand(replace(site, servers=1), costs).limits
    if all(alone[limit] <= MOST for limit in (PROCESSOR, NETWORK, HOT_KEY)):
        return 1
    everywhere = CHANGES * alone[INVALIDATIONS]
    if everywhere >= MOST:
        return None
    shared = [(alone[PROCESSOR] - alone[INVALIDATIONS]) / (MOST - everywhere)]
    shared += [alone[limit] / MOST for limit in (NETWORK, HOT_KEY)]
    return max(2, math.ceil(max(shared)))


def hosts_at(limit: str, site: Site, costs: Costs) -> float:
    """Return how many hosts of the site's kind use a limit up."""
    return 1 / demand(replace(site, hosts=1), costs).limits[limit]


def throughput(costs: Costs, processes: float, cores: int) -> float:
    """Return the hits a second of processes that do nothing else, on one machine whose ``cores``
    they share with memcached."""
    at_work = costs.hit_client + costs.hit_server
    return min(processes / (at_work + costs.hit_wait), cores / at_work)


def servers_asked(servers: int, entries: int) -> float:
    """Return how many of the servers one multi-get of so many entries asks, on average: almost
    all, as soon as it has several entries a server. More servers do not make it less for each."""
    return servers * (1 - (1 - 1 / servers) ** entries)
