"""What memcached servers did, by their own counts.

Processor time is the kernel's count for their process, in microseconds (in /proc it stands in
hundredths of a second). What else runs on the machine changes it less than it changes rates.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.servers import Memcached

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Spent(NamedTuple):
    """What servers did, all together."""

    cpu: float
    """Seconds of processor time."""
    keys: float
    """Asked for; memcached counts each key of a multi-get."""
    bytes_in: float
    bytes_out: float

    def __sub__(self, before: Spent) -> Spent:
        return Spent(*(mine - other for mine, other in zip(self, before, strict=True)))


def spent(servers: Sequence[Memcached]) -> Spent:
    """Return what ``servers`` have done since they started."""
    lines = [line.split() for each in servers for line in each.ask("stats").decode().splitlines()]
    values = [(line[1], line[2]) for line in lines if len(line) == 3]

    def total(*names: str) -> float:
        return sum(float(value) for name, value in values if name in names)

    return Spent(
        total("rusage_user", "rusage_system"),
        total("cmd_get"),
        total("bytes_read"),
        total("bytes_written"),
    )


def _pid(server: Memcached) -> int:
    assert server.process is not None, "the server was not started"
    return server.process.pid


def connected(server: Memcached) -> int:
    """Return the connections that others than the caller have to a server."""
    time.sleep(0.05)  # until it has noticed who left
    return server.stats()["curr_connections"] - 1


@contextlib.contextmanager
def memcached(number: int, *options: str) -> Iterator[list[Memcached]]:
    servers = [Memcached(*options) for _ in range(number)]
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.stop()


def connection_bytes(number: int) -> float:
    """Return the bytes of its own memory that a memcached takes for a connection at rest."""
    with memcached(1) as (server,):
        before = _resident(server)
        with contextlib.ExitStack() as all_open:
            for _ in range(number):
                connection = socket.create_connection(("127.0.0.1", server.port))
                all_open.enter_context(connection)
                connection.sendall(b"version\r\n")
                connection.recv(100)
            return (_resident(server) - before) / number


def _resident(server: Memcached) -> int:
    pages_of_memory = Path(f"/proc/{_pid(server)}/statm").read_text().split()[1]
    return int(pages_of_memory) * os.sysconf("SC_PAGE_SIZE")
