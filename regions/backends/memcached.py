"""Entries on memcached servers.

An entry lies on one server, and every generation it depends on lies there too: its own, which is
nowhere else, and those of its function, tags and region, of which each server has a copy. So a
hit is one request to one server, a server that is away takes its own entries with it and no
others, and no generation is asked for by everybody at one place. Invalidating a function, a tag
or a region is one write to each server, whatever it covers.
"""

from __future__ import annotations

import math
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from regions.backends.memcached_clients import Connections, connector
from regions.content import is_content, keep_open
from regions.errors import StoreUnavailable
from regions.records import GENERATION_SIZE, Record, RecordRefused, Signer
from regions.rendezvous import choose
from regions.store import Entry, Reading, Store, dump
from regions.undelivered import Undelivered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from regions.backends.memcached_clients import Connection

_MONTH = 30 * 24 * 60 * 60
"""Seconds; memcached reads a longer time to live as a date (protocol.txt, "Expiration times")."""

_LAST_DATE = 2**31 - 1
"""The last date that memcached understands; what is to live longer lives for good."""


class Server:
    """One memcached server as this process knows it."""

    def __init__(self, name: str, connect: Callable[[], Connection], retry: float) -> None:
        self.name = name
        self._connections = Connections(connect)
        self._retry = retry
        self._failed = False
        self._next_try = 0.0
        self._lock = threading.Lock()
        self._undelivered = Undelivered()

    def ask(self, command: Callable[[Connection], Any]) -> Any:
        """Do ``command`` with this thread's connection. Raises StoreUnavailable.

        A server that fails is left alone for a while and then tried by one caller. What could
        not be invalidated on it is invalidated before it is asked for anything else.
        """
        if self._failed:
            self._take_turn()
        try:
            connection = self._connections.mine()
            self._undelivered.deliver(lambda scopes: _change(connection, scopes))
            answer = command(connection)
        except StoreUnavailable as error:
            self._next_try = time.monotonic() + self._retry
            self._failed = True
            raise StoreUnavailable("server", f"memcached {self.name}: {error}") from error
        self._failed = False
        return answer

    def _take_turn(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now < self._next_try:
                raise StoreUnavailable("away", f"memcached {self.name} is left alone for a while")
            self._next_try = now + self._retry

    def invalidate(self, scopes: Sequence[str]) -> None:
        """Change the generations of ``scopes``, or owe it and raise StoreUnavailable."""
        try:
            self.ask(lambda connection: _change(connection, scopes))
        except StoreUnavailable:
            self._undelivered.keep(scopes)
            raise


class MemcachedStore(Store):
    """A region's entries on one or more servers."""

    def __init__(
        self,
        servers: Sequence[str],
        signer: Signer,
        *,
        memcache_module: str = "memcache",
        username: str | None = None,
        password: str | None = None,
        timeout: float = 0.05,
        retry: float = 1.0,
    ) -> None:
        self._signer = signer
        self._servers = {
            server: Server(
                server, connector(server, memcache_module, timeout, username, password), retry
            )
            for server in servers
        }

    def _server(self, entry: Entry) -> Server:
        return self._servers[choose(self._servers, entry.address)]

    # -- records ---------------------------------------------------------------------------

    def read(self, entry: Entry) -> Reading:
        record, *generations = keys = _keys(entry)
        found = self._server(entry).ask(lambda connection: connection.get(keys))
        return self._reading(entry, found.get(record), map(found.get, generations))

    def begin(self, entry: Entry) -> Reading:
        keys = _keys(entry)

        def make_generations(connection: Connection) -> dict[str, bytes]:
            found = connection.get(keys)
            missing = [key for key in keys[1:] if key not in found]
            for key in missing:
                connection.add(key, os.urandom(GENERATION_SIZE), 0)
            # Of several that made one, one won: ask which.
            return connection.get(keys) if missing else found

        record, *generations = keys
        found = self._server(entry).ask(make_generations)
        return self._reading(entry, found.get(record), map(found.get, generations))

    def _reading(
        self, entry: Entry, sealed: bytes | None, generations: Iterable[bytes | None]
    ) -> Reading:
        if sealed is None:
            return Reading(None, tuple(generations))
        try:
            return Reading(self._signer.open(entry.address, sealed), tuple(generations))
        except RecordRefused:
            return Reading(None, tuple(generations), refused=True)

    def write(self, entry: Entry, value: Any, record: Record, ttl: float) -> Any:
        if is_content(value):
            raise StoreUnavailable("content", "files and streams belong in a region of type 'file'")
        codec, payload = dump(value)
        sealed = self._signer.seal(entry.address, record._replace(codec=codec, payload=payload))
        key, exptime = _record_key(entry), _exptime(ttl)
        if not self._server(entry).ask(lambda connection: connection.set(key, sealed, exptime)):
            raise StoreUnavailable(
                "not_taken", f"the server does not take a record of {len(sealed)} bytes"
            )
        return value

    def unstored(self, value: Any) -> Any:
        return keep_open(value) if is_content(value) else value

    # -- generations and leases ------------------------------------------------------------

    def invalidate(self, scopes: Iterable[str]) -> None:
        failures = []
        for server, owed in self._spread(scopes).items():
            try:
                server.invalidate(owed)
            except StoreUnavailable as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _spread(self, scopes: Iterable[str]) -> dict[Server, list[str]]:
        """Return which scopes have a generation on which server."""
        spread: dict[Server, list[str]] = {}
        for scope in scopes:
            if scope[0] == "e":
                owners = [self._servers[choose(self._servers, bytes.fromhex(scope[1:]))]]
            else:
                owners = list(self._servers.values())
            for server in owners:
                spread.setdefault(server, []).append(scope)
        return spread

    def acquire(self, entry: Entry, seconds: float) -> bytes:
        token = os.urandom(GENERATION_SIZE)
        key, exptime = _lease_key(entry), _exptime(seconds)
        taken = self._server(entry).ask(lambda connection: connection.add(key, token, exptime))
        return token if taken else b""

    def release(self, entry: Entry, token: bytes) -> None:
        key = _lease_key(entry)

        def give_back(connection: Connection) -> None:
            # A lease that ran out may be another's by now.
            if connection.get([key]).get(key) == token:
                connection.delete(key)

        self._server(entry).ask(give_back)


def _change(connection: Connection, scopes: Iterable[str]) -> None:
    # A generation that is not there matches no record: the next load makes a fresh one.
    for scope in scopes:
        connection.delete(_generation_key(scope))


def _record_key(entry: Entry) -> str:
    return f"brg1:{entry.address.hex()}"


def _lease_key(entry: Entry) -> str:
    return f"brg1:l{entry.address.hex()}"


def _generation_key(scope: str) -> str:
    return f"brg1:{scope}"


def _keys(entry: Entry) -> list[str]:
    """Return the key of the record, then those of its generations."""
    return [_record_key(entry), *map(_generation_key, entry.scopes)]


def _exptime(seconds: float) -> int:
    """Return memcached's form of a time to live; the server counts whole seconds and may take
    off up to one."""
    if math.isinf(seconds):
        return 0
    whole = math.ceil(seconds) + 1
    if whole <= _MONTH:
        return whole
    date = int(time.time()) + whole
    return date if date <= _LAST_DATE else 0
