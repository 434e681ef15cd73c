"""Two hosts, network namespaces of this machine, that share a region's folder over GlusterFS.

Each has the volume mounted through a client of its own, with what that remembers by default, and
with all the remembering that its manual offers; generations and leases are on a memcached. A read
is stale when it is older than a change whose invalidation had returned before, or than the entry's
expiry. ``errors`` reached a caller, ``failures`` the store kept from it by running the function.
``as before`` tells after how long new processes on both hosts were served what is true, without
another load. Needs Linux, root, /dev/fuse, and Debian's glusterfs-server, glusterfs-client,
memcached, iproute2 and nftables. Takes two minutes; ``--quick`` 45 s.
"""

from __future__ import annotations

import subprocess
import sys

from bench.cluster import network
from bench.report import Row, arguments, report
from bench.shared_folder import volume
from bench.shared_folder.situations import SITUATIONS, Site
from bench.shared_folder.volume import DEFAULT, MOST, Client, Volume

ENOUGH = 1.1
"""Loads a version, of what all ask for at once."""


def wrong(row: Row) -> str | None:
    """Return what promise a row has broken."""
    if row["stale"]:
        return "a read was stale"
    if row["errors"]:
        return "the folder's failure was a caller's"
    if "at once" in row["situation"] and row["loads a version"] > ENOUGH:
        return "what all asked for was loaded more than once"
    if row["as before"] == "never":
        return "the folder was not used again"
    return None


def main() -> int:
    given = arguments(__doc__)
    if reason := volume.missing():
        print(f"bench.shared_folder: {reason}", file=sys.stderr)
        return 2
    network.enter("bench.shared_folder")
    seconds = 1.0 if given.quick else 3.0
    rows: list[Row] = []
    servers = Volume()
    clients = Client("a", 11, servers), Client("b", 12, servers)
    try:
        for caches in (DEFAULT, MOST):
            servers.set(caches)
            for client in clients:
                client.mount(caches)
            site = Site(servers, clients, caches, seconds)
            for situation in SITUATIONS:
                if (given.quick and not situation.quick) or (situation.once and caches is MOST):
                    continue
                row = {"clients remember": caches.name, "situation": situation.name}
                rows.append(row | situation.happens(site))
            for client in clients:
                client.unmount()
    finally:
        servers.stop()
    printed = subprocess.run(["glusterfs", "--version"], capture_output=True, text=True, check=True)
    settings = {
        "file system": " ".join(printed.stdout.split()[:2]),
        "seconds": seconds,
        "ping-timeout, s": volume.PING_SECONDS,
    }
    report("shared_folder", given, settings, rows)
    broken = [f"{row['situation']}: {found}" for row in rows if (found := wrong(row))]
    for each in broken:
        print(f"\nbroken: {each}", file=sys.stderr)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
