"""Leases on servers: an item that one caller adds, and that expires by itself."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable

from beaker_regions.engine.store import MOST_LEVEL, Lease
from beaker_regions.entries.entry import Entry
from beaker_regions.entries.records import TURN_SIZE
from beaker_regions.errors import NotTakenError
from beaker_regions.stores.servers.connection import Connection
from beaker_regions.stores.servers.server import Server

_VALUE = struct.Struct(f"<{TURN_SIZE}sB?")
"""A lease: its turn, its level, and whether its content is arriving."""


class ServerLeases:
    """At most one lease for each entry, on the server that ``server_of`` returns. Times in seconds;
    every method may raise StoreUnavailableError."""

    def __init__(self, server_of: Callable[[Entry], Server]) -> None:
        self._server_of = server_of

    def acquire(self, entry: Entry, seconds: float, over: bytes = b"") -> Lease:
        """As `Store.acquire`."""
        server, name = self._server_of(entry), _name(entry)
        try:
            return server.ask(
                lambda connection: _take(connection, server.key_of(name), seconds, over)
            )
        except BaseException as error:
            # A server that hung may still give the lease after this caller has gone. A signal may
            # also end this process before it reads the answer. So the lease is deleted later.
            if not isinstance(error, NotTakenError):
                server.keep_pending([name])
            raise

    def renew(self, entry: Entry, lease: Lease, seconds: float) -> Lease:
        """Extend a lease from now, and mark it: its content is arriving. Returns the lease to
        release: the same one if another caller has it by now."""
        server, ends = self._server_of(entry), time.monotonic() + seconds * 2**lease.level
        key = server.key_of(_name(entry))
        value = _VALUE.pack(lease.turn, lease.level, True)

        def renew(connection: Connection) -> bool:
            found = connection.gets(key)
            if found is None or _lease(found.value).turn != lease.turn:
                return False
            # Never overwrite another caller's lease: a turn that was taken over does not come back.
            return bool(connection.cas(key, value, seconds * 2**lease.level, found))

        if server.ask(renew):
            return lease._replace(ends=ends)
        taken = self.acquire(entry, seconds)
        return taken if taken.mine else lease

    def is_progressing(self, entry: Entry) -> bool:
        """Return whether content of the lease arrives: it was renewed and has not expired."""
        server = self._server_of(entry)
        key = server.key_of(_name(entry))
        found = server.ask(lambda connection: connection.get([key])).get(key, b"")
        return len(found) == _VALUE.size and bool(_VALUE.unpack(found)[2])

    def release(self, entry: Entry, lease: Lease) -> None:
        """As `Store.release`."""
        # A lease that has expired may be another caller's by now.
        if time.monotonic() < lease.ends:
            self._server_of(entry).delete([_name(entry)])


def _take(connection: Connection, key: str, seconds: float, over: bytes) -> Lease:
    mine = _own(seconds, 0)
    if connection.add(key, _value(mine), seconds):
        return mine
    found = connection.gets(key)
    if found is None:
        return Lease(b"")  # it ended just now
    others = _lease(found.value)
    if not over or others.turn != over:
        return others
    mine = _own(seconds, min(others.level + 1, MOST_LEVEL))
    if connection.cas(key, _value(mine), seconds * 2**mine.level, found):
        return mine
    return _lease(connection.get([key]).get(key, b""))


def _own(seconds: float, level: int) -> Lease:
    ends = time.monotonic() + seconds * 2**level
    return Lease(os.urandom(TURN_SIZE), level, ends, mine=True)


def _value(lease: Lease) -> bytes:
    return _VALUE.pack(lease.turn, lease.level, False)


def _lease(value: bytes) -> Lease:
    """Return another caller's lease. Any other value there, such as one of another release, also
    counts as a lease."""
    if len(value) != _VALUE.size:
        return Lease(value[:TURN_SIZE])
    turn, level, _ = _VALUE.unpack(value)
    return Lease(turn, min(level, MOST_LEVEL))


def _name(entry: Entry) -> str:
    return f"l{entry.address.hex()}"
