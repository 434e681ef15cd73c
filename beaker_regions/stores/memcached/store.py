"""Entries on memcached servers.

An entry lies on one server, and every generation it depends on lies there too: its own, and those
of its function, tags and region, of which each server has a copy. So a hit is one request to one
server, a server that is away takes its own entries with it and no others, and no generation is
asked for by everybody at one place. Invalidating a function, a tag or a region is two messages to
each server, sent to all at once, whatever it covers, and one moment for all of them
(`beaker_regions.stores.memcached.generations`). An entry's own generation is changed wherever a
process may see the entry whose list has one server more, or one less
(`beaker_regions.stores.memcached.rendezvous.places`), so that servers come and go while all of them
are in use.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from beaker_regions.engine.store import Lease, LookupForUpdate, Store, dump
from beaker_regions.entries.content import is_content, keep_open
from beaker_regions.entries.entry import Entry, Lookup, is_entry_scope
from beaker_regions.entries.records import (
    GENERATION_SIZE,
    Codec,
    OtherFormatError,
    Record,
    RecordRefusedError,
    Signer,
    deflated,
    load_value,
)
from beaker_regions.errors import NotTakenError, StoreUnavailableError
from beaker_regions.stores.memcached.chunks import MOST_PARTS, PART_SIZE, joined, keys, split
from beaker_regions.stores.memcached.connection import at_once, exptime_of
from beaker_regions.stores.memcached.counters import MemcachedCounters
from beaker_regions.stores.memcached.generations import change, complete
from beaker_regions.stores.memcached.locks import MemcachedLeases
from beaker_regions.stores.memcached.pylibmc_client import Pylibmc
from beaker_regions.stores.memcached.python_memcached import PythonMemcached
from beaker_regions.stores.memcached.rendezvous import choose, places
from beaker_regions.stores.memcached.server import Server, stem_of
from beaker_regions.stores.pending import PendingInvalidations, PersistentQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from beaker_regions.stores.memcached.connection import Connection, Halves, Item


class MemcachedStore(Store):
    """A region's entries on one or more servers, each with its weight. One of weight 0 holds no
    entries, and takes invalidations: it is coming or going, and others use it already, or still.

    ``folder`` is where the processes of this host keep invalidations that wait for a server;
    without it each keeps its own. What is kept under another ``prefix`` is another site's: nothing
    of it is read, and nothing invalidated. Times in seconds.
    """

    def __init__(
        self,
        servers: Sequence[tuple[str, float]],
        signer: Signer,
        *,
        memcache_module: str = "memcache",
        username: str | None = None,
        password: str | None = None,
        timeout: float = 0.05,
        retry: float = 1.0,
        folder: Path | None = None,
        prefix: str = "",
    ) -> None:
        self._signer = signer
        self._stem = stem_of(prefix)
        # One that is owed nothing by another site: the journal names scopes alone.
        owed = f"{prefix}@" if prefix else ""
        self._weights = dict(servers)
        self._servers = {
            server: Server(
                server,
                _connector(server, memcache_module, timeout, username, password),
                retry,
                PersistentQueue(folder / quote(owed + server, safe=""))
                if folder
                else PendingInvalidations(),
                self._stem,
            )
            for server in self._weights
        }
        self.counters = MemcachedCounters(self._server)
        self.leases = MemcachedLeases(self._server_of)

    def _server(self, address: bytes) -> Server:
        return self._servers[choose(self._weights, address)]

    def _server_of(self, entry: Entry) -> Server:
        return self._server(bytes.fromhex(entry.scopes[0][1:]))

    # -- records ---------------------------------------------------------------------------

    def read(self, entry: Entry) -> Lookup:
        record, *generations = wanted = self._keys(entry)
        found = self._server_of(entry).ask(_fetching(wanted))
        return self._reading(entry, found.get(record), map(found.get, generations))

    def read_many(self, entries: Iterable[Entry]) -> list[Lookup | StoreUnavailableError]:
        entries = list(entries)
        spread: dict[Server, list[Entry]] = {}
        for entry in entries:
            spread.setdefault(self._server_of(entry), []).append(entry)
        # Entries of a function share generations: each is asked for once.
        wanted = {
            server: list(dict.fromkeys(key for entry in asked for key in self._keys(entry)))
            for server, asked in spread.items()
        }
        answers = at_once(
            {server: server.asking(partial(_getting, keys)) for server, keys in wanted.items()}
        )
        readings: dict[Entry, Lookup | StoreUnavailableError] = {}
        for server, found in answers.items():
            if isinstance(found, StoreUnavailableError):
                readings |= dict.fromkeys(spread[server], found)
                continue
            for entry in spread[server]:
                record, *generations = self._keys(entry)
                readings[entry] = self._reading(
                    entry, found.get(record), map(found.get, generations)
                )
        return [readings[entry] for entry in entries]

    def read_for_load(self, entry: Entry) -> Lookup:
        record, *generations = wanted = self._keys(entry)
        found = self._server_of(entry).ask(
            lambda connection: complete(connection, connection.get(wanted), generations)
        )
        return self._beginning(entry, found.get(record), map(found.get, generations))

    def _beginning(
        self, entry: Entry, sealed: bytes | None, generations: Iterable[bytes | None]
    ) -> Lookup:
        reading = self._reading(entry, sealed, generations)
        # What somebody else keeps under our key is no generation.
        ours = [
            each if each and len(each) == GENERATION_SIZE else None for each in reading.generations
        ]
        return reading._replace(generations=tuple(ours))

    def _reading(
        self, entry: Entry, sealed: bytes | None, generations: Iterable[bytes | None]
    ) -> Lookup:
        if sealed is None:
            return Lookup(None, tuple(generations))
        try:
            return Lookup(self._signer.open(entry.address, sealed), tuple(generations))
        except RecordRefusedError as error:
            return Lookup(None, tuple(generations), refused=not isinstance(error, OtherFormatError))

    def write(self, entry: Entry, value: Any, record: Record, ttl: float) -> Any:
        if is_content(value):
            raise StoreUnavailableError(
                "content", "files and streams belong in a region of type 'file'"
            )
        items, exptime = self._items(entry, value, record), exptime_of(ttl)

        def store(connection: Connection) -> bool:
            return all(connection.set(key, item, exptime) for key, item in items.items())

        if not self._server_of(entry).ask(store):
            raise _not_taken(items)
        return value

    def _items(self, entry: Entry, value: Any, record: Record) -> dict[str, bytes]:
        """Return what is stored for a value, by key; the sealed record is the last."""
        codec, payload = deflated(*dump(value))
        parts: dict[str, bytes] = {}
        if len(payload) > PART_SIZE:
            codec, (payload, parts) = Codec.PARTS, split(self._stem, entry, codec, payload)
        record = record._replace(codec=codec, payload=payload)
        items = {**parts, self._record_key(entry): self._signer.seal(entry.address, record)}
        if len(parts) > MOST_PARTS:
            raise _not_taken(items)
        return items

    def get_for_update(self, entry: Entry) -> LookupForUpdate:
        record, *generations = self._keys(entry)

        def look(connection: Connection) -> tuple[Item | None, dict[str, bytes]]:
            # The item first: what changes after this, its exchange notices.
            item = connection.gets(record)
            return item, complete(connection, connection.get(generations), generations)

        item, found = self._server_of(entry).ask(look)
        reading = self._beginning(entry, item and item.value, map(found.get, generations))
        return LookupForUpdate(reading, item)

    def compare_and_set(
        self, entry: Entry, value: Any, record: Record, ttl: float, seen: LookupForUpdate | None
    ) -> bool:
        if seen is None:
            self.write(entry, value, record, ttl)
            self._forget_elsewhere(entry)
            return True
        items, exptime = self._items(entry, value, record), exptime_of(ttl)
        *parts, (key, sealed) = items.items()

        def store(connection: Connection) -> bool | None:
            if not all(connection.set(*part, exptime) for part in parts):
                return None
            return connection.cas(key, sealed, exptime, seen.token)

        stored = self._server_of(entry).ask(store)
        if stored is None:
            raise _not_taken(items)
        if stored:
            self._forget_elsewhere(entry)
        return stored

    def _forget_elsewhere(self, entry: Entry) -> None:
        """Let nothing be found of an entry that was exchanged where hosts may look whose list of
        servers is another: nobody invalidates what is replaced."""
        own = entry.scopes[0]
        # Not `Server.delete`: nobody waits at each exchange for a server that is left alone.
        for name in places(self._weights, bytes.fromhex(own[1:]))[1:]:
            try:
                server = self._servers[name]
                server.ask(partial(_deleting, server.key_of(own)))
            except StoreUnavailableError:
                self._servers[name].keep_pending([own])

    def value(self, entry: Entry, record: Record) -> Any:
        if record.codec is Codec.PARTS:
            wanted = keys(self._stem, entry, record.payload)
            found = self._server_of(entry).ask(_fetching(wanted))
            record = joined(wanted, record, found)
        return load_value(record)

    def pass_through(self, value: Any) -> Any:
        return keep_open(value) if is_content(value) else value

    # -- generations and leases ------------------------------------------------------------

    def cover(self, scope: str) -> None:
        for server in self._servers.values():
            server.cover(scope)

    def invalidate(self, scopes: Iterable[str], during: Callable[[], None] | None = None) -> None:
        failures = change(self._spread(scopes), during)
        if failures:
            # Not one that this frame keeps: it keeps the frame, and so a connection, alive.
            raise failures.popitem()[1]

    def keep_pending(self, scopes: Iterable[str]) -> None:
        for server, names in self._spread(scopes).items():
            server.keep_pending(names)

    def _spread(self, scopes: Iterable[str]) -> dict[Server, list[str]]:
        """Return which scopes have a generation on which server."""
        spread: dict[Server, list[str]] = {}
        for scope in scopes:
            if is_entry_scope(scope):
                # Its own server last, where loads begin: there it is changed at once.
                owners = places(self._weights, bytes.fromhex(scope[1:]))[::-1]
            else:
                owners = list(self._servers)
            for server in owners:
                spread.setdefault(self._servers[server], []).append(scope)
        return spread

    def _record_key(self, entry: Entry) -> str:
        return self._stem + entry.address.hex()

    def _keys(self, entry: Entry) -> list[str]:
        """Return the key of the record, then those of its generations."""
        stem = self._stem
        return [stem + entry.address.hex(), *[stem + scope for scope in entry.scopes]]

    def acquire(self, entry: Entry, seconds: float, over: bytes = b"") -> Lease:
        return self.leases.acquire(entry, seconds, over)

    def release(self, entry: Entry, lease: Lease) -> None:
        self.leases.release(entry, lease)


def _connector(
    server: str, module: str, timeout: float, username: str | None, password: str | None
) -> Callable[[], Connection]:
    """Return what connects to ``server`` with the client library ``module``."""
    if module == "pylibmc":
        return lambda: Pylibmc(server, timeout, username, password)
    return lambda: PythonMemcached(server, timeout)


def _not_taken(items: Mapping[str, bytes]) -> NotTakenError:
    size = sum(map(len, items.values()))
    return NotTakenError(f"the server does not take {size} bytes")


def _fetching(keys: Sequence[str]) -> Callable[[Connection], dict[str, bytes]]:
    return lambda connection: connection.get(keys)


def _getting(keys: Sequence[str], connection: Connection) -> Halves[dict[str, bytes]]:
    return connection.getting(keys)


def _deleting(key: str, connection: Connection) -> None:
    connection.delete(key)
