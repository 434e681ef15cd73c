"""Entries on servers: what memcached and Redis have in common.

An entry is on one server, with every generation that it depends on: its own, and copies of those of
its function, tags and region, which every server has. So a hit is one request to one server. A
server that is away affects only its own entries, and no server has a generation that all requests
need. Invalidating a function, a tag or a region takes two messages to each server, sent to all at
once, however many entries it covers. It takes effect on all servers at one moment
(`beaker_regions.stores.servers.generations`). An entry's own generation is also changed on the
servers that hosts with one server more or less on their list would use
(`beaker_regions.stores.servers.rendezvous.places`). So servers can be added and removed while
they are in use.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from beaker_regions.engine.store import (
    Lease,
    LookupForUpdate,
    Reading,
    Store,
    Stored,
    dump,
    opened,
    refuse_content,
)
from beaker_regions.entries.entry import Entry, Lookup, is_entry_scope
from beaker_regions.entries.known import Known, KnownAnswers
from beaker_regions.entries.records import (
    GENERATION_SIZE,
    SHORT,
    Codec,
    Record,
    Signer,
    deflated,
    load_value,
)
from beaker_regions.errors import NotTakenError, StoreUnavailableError
from beaker_regions.stores.pending import PendingInvalidations, PersistentQueue
from beaker_regions.stores.servers.connection import Connection, Halves, Item, at_once
from beaker_regions.stores.servers.counters import ServerCounters
from beaker_regions.stores.servers.event_loops import Loops
from beaker_regions.stores.servers.generations import change, complete
from beaker_regions.stores.servers.leases import ServerLeases
from beaker_regions.stores.servers.loop_connection import ELSEWHERE, Answer
from beaker_regions.stores.servers.rendezvous import choose, places
from beaker_regions.stores.servers.server import Server, stem_of


class ServerStore(Store):
    """A region's entries on one or more servers, each with its weight. A server of weight 0 has no
    entries, but receives invalidations: it is being added or removed, and other hosts may use it.

    ``kind`` names the servers in messages. ``connect`` makes a connection to one. ``loops`` makes
    the connections of event loops to one; without them, coroutines ask in threads. After a failure,
    a server is not asked for ``retry`` seconds. ``folder``: the pending invalidations of this
    host's processes; without it each process has its own. Items under another ``prefix`` belong to
    another site: they are neither read nor invalidated. ``hash_tag`` returns what the keys of all
    items on a server have in common, beside the prefix.
    """

    deletes_at_once = False
    """Whether a server deletes many generations at one moment."""

    def __init__(
        self,
        servers: Sequence[tuple[str, float]],
        signer: Signer,
        kind: str,
        connect: Callable[[str], Connection],
        *,
        loops: Callable[[str], Loops] | None = None,
        retry: float = 1.0,
        folder: Path | None = None,
        prefix: str = "",
        hash_tag: Callable[[str], str] = lambda _: "",
    ) -> None:
        self.kind = kind
        self.signer = signer
        # Each site has its own queues, because a queue contains scopes without their prefix.
        site = f"{prefix}@" if prefix else ""
        self._weights = dict(servers)
        self._servers = {
            server: Server(
                f"{kind} {server}",
                partial(connect, server),
                retry,
                PersistentQueue(folder / quote(site + server, safe=""))
                if folder
                else PendingInvalidations(),
                stem_of(prefix) + hash_tag(server),
                loops(server) if loops else None,
            )
            for server in self._weights
        }
        self._known = KnownAnswers()
        self.counters = ServerCounters(self._server)
        self.leases = ServerLeases(self._server_of)

    def _server(self, address: bytes) -> Server:
        return self._servers[choose(self._weights, address)]

    def _owners(self, address: bytes) -> list[str]:
        """Return every server on which some host may have the entry at ``address``, this host's
        first."""
        return places(self._weights, address)

    def _server_of(self, entry: Entry) -> Server:
        return self._server(bytes.fromhex(entry.scopes[0][1:]))

    @property
    def server_names(self) -> list[str]:
        """The addresses of its servers."""
        return list(self._servers)

    def status(self, server: str) -> dict[str, str]:
        """Return what a server says of itself: its ``version``, ``answered_in`` (seconds), and some
        of memcached's counters and settings, by memcached's names. Raises StoreUnavailableError."""
        raise NotImplementedError

    def remarks(self, status: Mapping[str, str]) -> list[tuple[str, str]]:
        """Return what is wrong with a server of this status: "warning" or "error", and a message
        with the mend."""
        raise NotImplementedError

    # -- records ---------------------------------------------------------------------------

    def read(self, entry: Entry) -> Lookup:
        known = self._known.find(entry)
        if known is not None and known.keys:
            changed = known.server.get_if_changed(known)
            if changed is None:
                return known
            record, *generations = known.keys
            return self._lookup(entry, changed.get(record), map(changed.get, generations))
        server = self._server_of(entry)
        record, *generations = wanted = server.keys_of(entry)
        found = server.ask(fetching(wanted))
        lookup = self._lookup(entry, found.get(record), map(found.get, generations))
        if known is not None and lookup is known:
            known.ask_at(server, wanted)
        return lookup

    def begin_read(self, entry: Entry) -> Reading | None:
        known = self._known.find(entry)
        if known is not None and known.keys:
            answer = known.server.begin_get(known.keys, known)
            return None if answer is None else _Reading(self, entry, answer, known.keys, known)
        server = self._server_of(entry)
        keys = server.keys_of(entry)
        answer = server.begin_get(keys)
        if answer is not None and known is not None:
            known.ask_at(server, keys)
        return None if answer is None else _Reading(self, entry, answer, keys)

    def read_many(self, entries: Iterable[Entry]) -> list[Lookup | StoreUnavailableError]:
        entries = list(entries)
        spread: dict[Server, list[tuple[Entry, Known | None]]] = {}
        for entry in entries:
            known = self._known.find(entry)
            server = known.server if known is not None and known.keys else self._server_of(entry)
            spread.setdefault(server, []).append((entry, known))
        answers = at_once(
            {server: server.asking(_asking_for(server, each)) for server, each in spread.items()}
        )
        lookups: dict[Entry, Lookup | StoreUnavailableError] = {}
        for server, found in answers.items():
            for entry, known in spread[server]:
                if isinstance(found, StoreUnavailableError):
                    lookups[entry] = found
                elif found is None:
                    assert known is not None
                    lookups[entry] = known
                else:
                    record, *generations = keys = server.keys_of(entry)
                    lookup = self._lookup(entry, found.get(record), map(found.get, generations))
                    if lookup is known:
                        known.ask_at(server, keys)
                    lookups[entry] = lookup
        return [lookups[entry] for entry in entries]

    def read_for_load(self, entry: Entry) -> Lookup:
        server = self._server_of(entry)
        record, *generations = wanted = server.keys_of(entry)
        found = server.ask(
            lambda connection: complete(connection, connection.get(wanted), generations)
        )
        return self._lookup_for_load(entry, found.get(record), map(found.get, generations))

    def _lookup_for_load(
        self, entry: Entry, sealed: bytes | None, generations: Iterable[bytes | None]
    ) -> Lookup:
        lookup = self._lookup(entry, sealed, generations)
        # A value of another size under our key, such as a tombstone, is no generation.
        ours = [
            each if each and len(each) == GENERATION_SIZE else None for each in lookup.generations
        ]
        return lookup._replace(generations=tuple(ours))

    def _lookup(
        self, entry: Entry, sealed: bytes | None, generations: Iterable[bytes | None]
    ) -> Lookup:
        current = tuple(generations)
        known = self._known.find(entry)
        if known is not None and known.sealed == sealed and known.generations == current:
            known.repeat()
            return known
        lookup = opened(self.signer, entry, sealed, current)
        if sealed is not None and lookup.is_current:
            self._known.keep(lookup, entry, sealed)
        return lookup

    def write(self, entry: Entry, value: Any, record: Record, ttl: float) -> Stored:
        refuse_content(value)
        items, load_seconds = self._items(entry, value, record)

        def store(connection: Connection) -> bool:
            return all(connection.set(key, item, ttl) for key, item in items.items())

        if not self._server_of(entry).ask(store):
            raise not_taken(items)
        return Stored(value, load_seconds)

    def _items(self, entry: Entry, value: Any, record: Record) -> tuple[dict[str, bytes], float]:
        """Return the items to store for a value, by key, and the seconds that its load took. The
        sealed record is the last item. Raises NotTakenError."""
        codec, payload = deflated(*dump(value))
        record = record.with_payload(codec, payload)
        key = self._server_of(entry).key_of(entry.address.hex())
        items = {key: self.signer.seal(entry.address, record)}
        return items, record.load_seconds

    def get_for_update(self, entry: Entry) -> LookupForUpdate:
        server = self._server_of(entry)
        record, *generations = server.keys_of(entry)

        def fetch(connection: Connection) -> tuple[Item | None, dict[str, bytes]]:
            # Fetch the item first: `compare_and_set` then notices every later change.
            item = connection.gets(record)
            return item, complete(connection, connection.get(generations), generations)

        item, found = server.ask(fetch)
        lookup = self._lookup_for_load(entry, item and item.value, map(found.get, generations))
        return LookupForUpdate(lookup, item)

    def compare_and_set(
        self, entry: Entry, value: Any, record: Record, ttl: float, seen: LookupForUpdate | None
    ) -> bool:
        if seen is None:
            self.write(entry, value, record, ttl)
            self._forget_elsewhere(entry)
            return True
        items, _ = self._items(entry, value, record)
        *parts, (key, sealed) = items.items()

        def store(connection: Connection) -> bool | None:
            if not all(connection.set(*part, ttl) for part in parts):
                return None
            return connection.cas(key, sealed, ttl, seen.token)

        stored = self._server_of(entry).ask(store)
        if stored is None:
            raise not_taken(items)
        if stored:
            self._forget_elsewhere(entry)
        return stored

    def _forget_elsewhere(self, entry: Entry) -> None:
        """Delete the entry's generation on the servers that hosts with another list of servers
        would use. Otherwise they could still find the replaced value there."""
        own = entry.scopes[0]
        # Not `Server.delete`: an update must not wait each time for a server that has failed.
        for name in self._owners(bytes.fromhex(own[1:]))[1:]:
            try:
                server = self._servers[name]
                server.ask(partial(_deleting, server.key_of(own)))
            except StoreUnavailableError:
                self._servers[name].keep_pending([own])

    def value(self, entry: Entry, record: Record) -> Any:
        return load_value(self._whole(entry, record) if record.codec is Codec.PARTS else record)

    def _whole(self, entry: Entry, record: Record) -> Record:
        """Return a record whose payload lies in parts, with the whole payload."""
        raise ValueError("this type of store has no parts")

    # -- generations and leases ------------------------------------------------------------

    def cover(self, scope: str) -> None:
        for server in self._servers.values():
            server.cover(scope)

    def invalidate(self, scopes: Iterable[str], during: Callable[[], None] | None = None) -> None:
        failures = change(self._spread(scopes), during, deletes_at_once=self.deletes_at_once)
        if failures:
            # Not one that this frame keeps: it keeps the frame, and so a connection, alive.
            raise failures.popitem()[1]

    def keep_pending(self, scopes: Iterable[str]) -> None:
        for server, names in self._spread(scopes).items():
            server.keep_pending(names)

    def _spread(self, scopes: Iterable[str]) -> dict[Server, list[str]]:
        """Return the scopes that have a generation on each server."""
        spread: dict[Server, list[str]] = {}
        for scope in scopes:
            if is_entry_scope(scope):
                # Its own server last, because loads begin there: they then find all others changed.
                owners = self._owners(bytes.fromhex(scope[1:]))[::-1]
            else:
                owners = list(self._servers)
            for server in owners:
                spread.setdefault(self._servers[server], []).append(scope)
        return spread

    def acquire(self, entry: Entry, seconds: float, over: bytes = b"") -> Lease:
        return self.leases.acquire(entry, seconds, over)

    def release(self, entry: Entry, lease: Lease) -> None:
        self.leases.release(entry, lease)


class _Reading(Reading):
    """An entry's record and generations, which an event loop fetches."""

    __slots__ = ("_entry", "_keys", "_known", "_store", "answers")

    def __init__(
        self,
        store: ServerStore,
        entry: Entry,
        answer: Future[Answer],
        keys: Sequence[str],
        known: Known | None = None,
    ) -> None:
        self._store, self._entry, self._keys, self._known = store, entry, keys, known
        self.answers = (answer,)

    def lookup_in_loop(self) -> Lookup | None:
        answer = self.answers[0].result()
        if answer is None:
            return self._known
        if isinstance(answer, Exception):
            return None
        sealed = answer.get(self._keys[0], b"")
        if sealed is ELSEWHERE or len(sealed) > SHORT:
            return None
        lookup = self.lookup()
        return None if lookup.refused else lookup

    def lookup(self) -> Lookup:
        answer = self.answers[0].result()
        if answer is None:
            assert self._known is not None
            return self._known
        if isinstance(answer, StoreUnavailableError):
            raise answer.with_traceback(None)  # other tasks raise the same error
        record, *generations = self._keys
        if answer.get(record) is ELSEWHERE:
            return self._store.read(self._entry)
        return self._store._lookup(self._entry, answer.get(record), map(answer.get, generations))


def not_taken(items: Mapping[str, bytes]) -> NotTakenError:
    size = sum(map(len, items.values()))
    return NotTakenError(f"the server does not take {size} bytes")


def fetching(keys: Sequence[str]) -> Callable[[Connection], dict[str, bytes]]:
    return lambda connection: connection.get(keys)


def _asking_for(
    server: Server, asked: Sequence[tuple[Entry, Known | None]]
) -> Callable[[Connection], Halves[dict[str, bytes] | None]]:
    """Return the request for several entries. Its answer is None if the server gives all of their
    known answers again."""
    known = [each for _, each in asked if each is not None and each.keys]
    if len(known) == len(asked):
        return lambda connection: connection.getting_if_changed(known)
    # Entries of a function share generations: each is asked for once.
    keys = list(dict.fromkeys(key for entry, _ in asked for key in server.keys_of(entry)))
    return lambda connection: connection.getting(keys)


def _deleting(key: str, connection: Connection) -> None:
    connection.delete(key)
