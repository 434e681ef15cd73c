"""Three application hosts, three memcached, a MariaDB and a file origin, each on a host of its own
(a network namespace), under faults.

Every application host changes rows, in transactions with an invalidation inside, and reads all
rows through a cached function. A read is stale when its value is older than the last change that
had returned before the read began; the oldest such value is printed, too. ``worst`` is the longest
call or change. The hosts also read files that change at the origin, through a function of a region
that keeps copies on the host for a second; ``oldest file`` tells how long one was out of date.
Needs Linux, root or user namespaces, and Debian's iproute2, nftables, memcached and mariadb-server.
Takes two and a half minutes, with ``--full`` four, with ``--quick`` half of one. ``--redis`` puts
Redis in the place of memcached.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from bench.cluster import faults, network
from bench.cluster.board import Board
from bench.cluster.machines import APPLICATIONS, ROLES, Cluster
from bench.report import Row, arguments, report


def counted(board: Board) -> Row:
    row: Row = {
        what: sum(board.of_all(what)) for what in ("reads", "writes", "stale", "errors", "loads")
    }
    row["oldest s"] = round(max(board.of_all("oldest")) / 1e9, 1)
    row["worst ms"] = round(max(board.of_all("worst")) / 1e6)
    row |= {what: sum(board.of_all(what)) for what in ("files", "files failed", "fetched")}
    row["oldest file s"] = round(max(board.of_all("oldest file")) / 1e9, 1)
    row["worst file ms"] = round(max(board.of_all("worst file")) / 1e6)
    return row


def main() -> int:
    given = arguments(
        __doc__, redis="Redis in the place of memcached", full="each fault lasts longer"
    )
    if reason := network.missing():
        print(f"bench.cluster: {reason}", file=sys.stderr)
        return 2
    network.enter("bench.cluster")
    seconds = 1.5 if given.quick else 4.0 if given.full else 2.5
    # The short run is a test, too, and that on machines with other things to do.
    timeout = 1.0 if given.quick else 0.05
    rows: list[Row] = []
    wrong = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        number = 2 if given.quick else len(APPLICATIONS)
        cluster = Cluster(Path(folder), number, timeout, on_redis=given.redis)
        try:
            for application in cluster.applications:
                cluster.deploy(application)
            for fault in faults.FAULTS:
                if given.quick and not fault.quick:
                    continue
                cluster.board.reset()
                fault.commit(cluster, lambda times=1: time.sleep(times * seconds))
                name = fault.name.replace("memcached", "Redis" if given.redis else "memcached")
                rows.append({"fault": name, **counted(cluster.board)})
                if found := faults.verdict(fault, rows[-1]):
                    wrong.append(f"{name}: {found}")
        finally:
            cluster.stop()
    settings = {
        "application hosts": len(cluster.applications),
        "processes a host": len(ROLES),
        "seconds a fault lasts": seconds,
        "time-out of a server, s": timeout,
    }
    report("cluster_redis" if given.redis else "cluster", given, settings, rows)
    for each in wrong:
        print(f"\nbroken: {each}", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
