"""What is done to the cluster, each fault with what it may cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from bench.cluster.machines import Cluster

BOUND_OF_FILES = 4.0
"""Seconds for which a copy of a file may be out of date: one for which it is kept, and what busy
machines take to fetch it, or leave the origin alone for after it did not answer."""
MINUTE = 60.0

Hold = Callable[..., None]
"""Lets some time pass, or that many times as much."""
LONG = 3
"""Times; long enough to see how long others stay behind."""


class Fault(NamedTuple):
    name: str
    commit: Callable[[Cluster, Hold], None]
    """Does it, and ends it; calls its second argument to let some time pass."""
    errors: bool = False
    """Whether calls may raise, because the database cannot be reached."""
    bound_of_files: float = 0.0
    """Seconds for which a copy of a file may be out of date. 0: it is not known, because its origin
    is away, or hosts read nothing for a while (the first caller fetches it, and others get
    the old one during that time), or their clocks jump."""
    quick: bool = False
    """Whether it belongs to the short run."""


def nothing(_: Cluster, hold: Hold) -> None:
    hold()


def from_one(cluster: Cluster, hold: Hold, refused: bool = False) -> None:
    host = cluster.applications[0].host
    host.cut(cluster.hosts_of_caches[0], refused=refused)
    hold(1 if refused else LONG)
    host.heal()
    hold()


def from_one_refused(cluster: Cluster, hold: Hold) -> None:
    from_one(cluster, hold, refused=True)


def from_all(cluster: Cluster, hold: Hold) -> None:
    host = cluster.applications[0].host
    host.cut(*cluster.hosts_of_caches)
    hold(LONG)
    host.heal()
    hold()


def from_database(cluster: Cluster, hold: Hold, refused: bool = False) -> None:
    host = cluster.applications[0].host
    host.cut(cluster.database_host, refused=refused)
    hold()
    host.heal()
    hold()


def from_database_refused(cluster: Cluster, hold: Hold) -> None:
    from_database(cluster, hold, refused=True)


def from_origin(cluster: Cluster, hold: Hold, refused: bool = False) -> None:
    """During that time the copies expire, and a host's processes end and begin."""
    for each in cluster.applications:
        each.host.cut(cluster.origin_host, refused=refused)
    hold()
    cluster.deploy(cluster.applications[0])
    for each in cluster.applications:
        each.host.heal()


def from_origin_refused(cluster: Cluster, hold: Hold) -> None:
    from_origin(cluster, hold, refused=True)


def back(cluster: Cluster, hold: Hold) -> None:
    """What the hosts had while it was away is of no account."""
    time.sleep(BOUND_OF_FILES)
    cluster.board.reset()
    hold()


def old_contents(cluster: Cluster, hold: Hold) -> None:
    """A memcached is cut off from everybody, and back with what it had."""
    host = cluster.hosts_of_caches[0]
    host.cut(*(each.host for each in cluster.applications))
    hold()
    host.heal()
    hold()


def hang(cluster: Cluster, hold: Hold) -> None:
    _, server = cluster.caches["m1"]
    server.pause()
    hold()
    server.resume()
    hold()


def restart(cluster: Cluster, hold: Hold) -> None:
    host, server = cluster.caches["m1"]
    server.kill()
    hold()
    with host.inside():
        server.start()
    hold()


def death(cluster: Cluster, hold: Hold) -> None:
    """A host with pending invalidations of a memcached dies, and never comes back to apply them."""
    first = cluster.applications[0]
    first.host.cut(cluster.hosts_of_caches[0])
    hold()
    cluster.end(first)
    hold(LONG)
    first.host.heal()
    cluster.deploy(first)


def clocks(cluster: Cluster, hold: Hold) -> None:
    with other_clocks(cluster):
        hold()


def clocks_and_cut(cluster: Cluster, hold: Hold) -> None:
    """The one whose rows of the outbox seem to be of the future is the one that is cut off."""
    with other_clocks(cluster):
        from_one(cluster, hold)


@contextmanager
def other_clocks(cluster: Cluster) -> Iterator[None]:
    first, *_, last = cluster.applications
    cluster.deploy(first, clock=MINUTE)
    cluster.deploy(last, clock=-MINUTE)
    yield
    cluster.deploy(first)
    cluster.deploy(last)


def new_version(cluster: Cluster, hold: Hold) -> None:
    """Host by host: a function whose version was raised."""
    for release in (2, 1):
        for application in cluster.applications:
            cluster.deploy(application, release=release)
        hold()


def new_signature(cluster: Cluster, hold: Hold) -> None:
    """Host by host: a function with another signature. Tags reach both."""
    for release in (1, 3, 1):
        for application in cluster.applications:
            cluster.deploy(application, release=release, tags_only=True)
        hold()
    for application in cluster.applications:
        cluster.deploy(application)


def another_memcached(cluster: Cluster, hold: Hold) -> None:
    """Host by host: out, by way of weight 0, and in again."""
    for weight in (0, -1, 0, 1):
        for application in cluster.applications:
            cluster.deploy(application, servers=cluster.servers(m3=weight))
            time.sleep(0.5)
    hold()


FAULTS = [
    Fault("none", nothing, bound_of_files=BOUND_OF_FILES, quick=True),
    Fault("host cut off from one memcached", from_one, quick=True),
    Fault("the same, refused", from_one_refused),
    Fault("host cut off from all memcached", from_all),
    Fault("host cut off from the database", from_database, errors=True, quick=True),
    Fault("the same, refused", from_database_refused, errors=True),
    Fault("file origin cut off from all", from_origin, quick=True),
    Fault("the same, refused", from_origin_refused),
    Fault("file origin is back", back, bound_of_files=BOUND_OF_FILES, quick=True),
    Fault("memcached back with old contents", old_contents, quick=True),
    Fault("memcached hangs and goes on", hang),
    Fault("memcached killed, started again", restart),
    Fault("host dies owing invalidations", death),
    Fault("clocks a minute apart", clocks),
    Fault("clocks apart, cut off from one", clocks_and_cut),
    Fault("deploy: version raised", new_version),
    Fault("deploy: signature changed", new_signature),
    Fault("memcached removed and added", another_memcached),
]


def verdict(fault: Fault, counts: dict[str, float]) -> str:
    """Return what is wrong with what came of a fault; empty when nothing is."""
    wrong = []
    if counts["stale"]:
        wrong.append(f"{counts['stale']:g} stale reads, {counts['oldest s']:.1f} s at the most")
    if counts["errors"] and not fault.errors:
        wrong.append(f"{counts['errors']:g} errors")
    if counts["files failed"]:
        wrong.append(
            f"{counts['files failed']:g} files could not be read; there are copies of them"
        )
    if counts["oldest file s"] > (fault.bound_of_files or math.inf):
        wrong.append(f"a copy of a file was {counts['oldest file s']:.1f} s out of date")
    if not counts["files"] or not counts["reads"] or not counts["writes"]:
        wrong.append("nothing was measured")
    return "; ".join(wrong)
