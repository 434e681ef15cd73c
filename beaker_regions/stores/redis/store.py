"""Entries on Redis or Valkey servers, or on a Redis Cluster, spread and invalidated as on any
servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from redis.connection import AbstractConnection

from beaker_regions.entries.records import Signer
from beaker_regions.stores.redis import info
from beaker_regions.stores.redis.addresses import (
    Address,
    connector,
    name_of,
    name_of_node,
    node_of,
    socket_of,
)
from beaker_regions.stores.redis.cluster import (
    BUCKETS,
    TAGS,
    ClusterConnection,
    Nodes,
    SlotLoops,
    slot_of,
)
from beaker_regions.stores.redis.connection import RedisConnection
from beaker_regions.stores.redis.link import Link
from beaker_regions.stores.redis.loop_protocol import LoopProtocol
from beaker_regions.stores.servers.connection import Connection
from beaker_regions.stores.servers.event_loops import LoopConnections
from beaker_regions.stores.servers.server import Server
from beaker_regions.stores.servers.store import ServerStore

PATIENCE = 1.0
"""Seconds that a server may take to tell its status: a person waits, and a busy server must not
look unreachable."""


def _taken(options: dict[str, Any]) -> dict[str, Any]:
    """Take those of the options out that are for connections (`connector`)."""
    names = ("username", "password", "ca_file", "timeout")
    return {name: options.pop(name) for name in names if name in options}


class RedisStore(ServerStore):
    """A region's entries on Redis or Valkey servers, each named by a URL, with a weight. The
    options for connections are those of `connector`, all others those of `ServerStore`."""

    deletes_at_once = True

    def __init__(
        self, servers: Sequence[tuple[str, float]], signer: Signer, **options: Any
    ) -> None:
        access = _taken(options)
        self._makers = {name_of(url): connector(url, **access) for url, _ in servers}
        # An event loop cannot wait for a socket with TLS by its descriptor alone.
        is_plain = not any(url.startswith("rediss:") for url, _ in servers)
        super().__init__(
            [(name_of(url), weight) for url, weight in servers],
            signer,
            "redis",
            lambda server: RedisConnection(lambda: Link(self._makers[server]())),
            loops=self._loops if is_plain else None,
            **options,
        )

    def _loops(self, server: str) -> LoopConnections:
        make = self._makers[server]
        limit = make().socket_timeout or PATIENCE
        return LoopConnections(lambda: socket_of(make()), LoopProtocol, limit)

    def status(self, server: str) -> dict[str, str]:
        return info.status(server, partial(self._makers[server], socket_timeout=PATIENCE))

    def remarks(self, status: Mapping[str, str]) -> list[tuple[str, str]]:
        return info.remarks(status, in_cluster=False)


class RedisClusterStore(ServerStore):
    """A region's entries on a Redis Cluster. Some of its nodes are named by URLs, and the first one
    says how all are reached. Options as for `RedisStore`."""

    def __init__(
        self, servers: Sequence[tuple[str, float]], signer: Signer, **options: Any
    ) -> None:
        make = connector(servers[0][0], **_taken(options))

        def connection(address: Address, **others: Any) -> AbstractConnection:
            return make(host=address[0], port=address[1], **others)

        self._make = connection
        self._configured = [node_of(url) for url, _ in servers]
        nodes = Nodes(connection, self._configured)
        is_plain = not servers[0][0].startswith("rediss:")
        # The name ends with that of a server: messages about pending invalidations name it.
        first = name_of_node(self._configured[0])
        self._buckets = [f"{number}/{BUCKETS} of {first}" for number in range(1, BUCKETS + 1)]
        tags = dict(zip(self._buckets, TAGS, strict=True))

        def connect(bucket: str) -> Connection:
            return ClusterConnection(nodes, slot_of(tags[bucket]))

        def loops(bucket: str) -> SlotLoops:
            return SlotLoops(nodes, slot_of(tags[bucket]))

        super().__init__(
            [(bucket, 1.0) for bucket in self._buckets],
            signer,
            "redis",
            connect,
            loops=loops if is_plain else None,
            hash_tag=lambda bucket: f"{{{tags[bucket]}}}:",
            **options,
        )

    def _owners(self, address: bytes) -> list[str]:
        return [self._buckets[int.from_bytes(address[:2]) * BUCKETS >> 16]]

    def _server(self, address: bytes) -> Server:
        return self._servers[self._owners(address)[0]]

    @property
    def server_names(self) -> list[str]:
        """The addresses of all masters, and of the nodes that are configured."""
        addresses = info.masters(self._configured, partial(self._make, socket_timeout=PATIENCE))
        return list(map(name_of_node, dict.fromkeys([*self._configured, *addresses])))

    def status(self, server: str) -> dict[str, str]:
        make = partial(self._make, node_of(f"//{server}"), socket_timeout=PATIENCE)
        return info.status(server, make)

    def remarks(self, status: Mapping[str, str]) -> list[tuple[str, str]]:
        return info.remarks(status, in_cluster=True)
