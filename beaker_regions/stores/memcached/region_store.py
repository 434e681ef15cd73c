"""Entries on memcached servers. Values that are larger than an item lie in chunks."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any

from beaker_regions.engine.store import dump
from beaker_regions.entries.entry import Entry
from beaker_regions.entries.records import Codec, Record, Signer, deflated
from beaker_regions.stores.memcached import binary_protocol, server_stats, text_protocol
from beaker_regions.stores.memcached.chunks import MOST_PARTS, PART_SIZE, joined, keys, split
from beaker_regions.stores.memcached.thread_connection import CommandProtocol, ThreadConnection
from beaker_regions.stores.memcached.wire import Host
from beaker_regions.stores.servers.event_loops import LoopConnections
from beaker_regions.stores.servers.store import ServerStore, fetching, not_taken


class MemcachedStore(ServerStore):
    """A region's entries on memcached servers. It waits ``timeout`` seconds for an answer, and
    signs in with ``username`` and ``password``, if they are given. Further options are those of
    `ServerStore`."""

    def __init__(
        self,
        servers: Sequence[tuple[str, float]],
        signer: Signer,
        *,
        username: str | None = None,
        password: str = "",
        timeout: float = 0.05,
        **options: Any,
    ) -> None:
        self._credentials = None if username is None else (username, password)
        protocol: CommandProtocol = text_protocol if username is None else binary_protocol

        def host(server: str) -> Host:
            return Host(server, timeout, self._credentials)

        def connect(server: str) -> ThreadConnection:
            return ThreadConnection(host(server), protocol)

        def loops(server: str) -> LoopConnections:
            return LoopConnections(lambda: _connected(host(server)), lambda: protocol, timeout)

        super().__init__(servers, signer, "memcached", connect, loops=loops, **options)

    def _items(self, entry: Entry, value: Any, record: Record) -> tuple[dict[str, bytes], float]:
        codec, payload = deflated(*dump(value))
        parts: dict[str, bytes] = {}
        server = self._server_of(entry)
        if len(payload) > PART_SIZE:
            codec, (payload, parts) = Codec.PARTS, split(server.stem, entry, codec, payload)
        record = record.with_payload(codec, payload)
        key = server.key_of(entry.address.hex())
        items = {**parts, key: self.signer.seal(entry.address, record)}
        if len(parts) > MOST_PARTS:
            raise not_taken(items)
        return items, record.load_seconds

    def _whole(self, entry: Entry, record: Record) -> Record:
        server = self._server_of(entry)
        wanted = keys(server.stem, entry, record.payload)
        found = server.ask(fetching(wanted))
        return joined(wanted, record, found)

    def status(self, server: str) -> dict[str, str]:
        return server_stats.status(server, self._credentials)

    def remarks(self, status: Mapping[str, str]) -> list[tuple[str, str]]:
        return server_stats.remarks(status)


def _connected(host: Host) -> socket.socket:
    """Return a socket for an event loop. Raises OSError or StoreUnavailableError."""
    made = host.connected()
    if made.family != socket.AF_UNIX:
        # A request is sent while the last one is not answered yet.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setblocking(False)
    return made
