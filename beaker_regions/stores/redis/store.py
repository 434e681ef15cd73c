"""Entries on Redis or Valkey servers, spread and invalidated as on any servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beaker_regions.stores.redis import info, loop_protocol
from beaker_regions.stores.redis.addresses import made, name_of, socket_of
from beaker_regions.stores.redis.connection import RedisConnection
from beaker_regions.stores.servers.event_loops import LoopConnections
from beaker_regions.stores.servers.store import ServerStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redis.connection import AbstractConnection

    from beaker_regions.entries.records import Signer
    from beaker_regions.stores.servers.connection import Connection


PATIENCE = 1.0
"""Seconds that a server may take to tell its status."""


class RedisStore(ServerStore):
    """A region's entries on Redis or Valkey servers, each named by a URL, with a weight. It waits
    ``timeout`` seconds for an answer; further options are those of `ServerStore`."""

    deletes_at_once = True

    def __init__(
        self,
        servers: Sequence[tuple[str, float]],
        signer: Signer,
        *,
        username: str | None = None,
        password: str | None = None,
        ca_file: str | None = None,
        timeout: float = 0.05,
        **options: Any,
    ) -> None:
        urls = {name_of(url): url for url, _ in servers}

        def make(server: str, seconds: float = timeout) -> Callable[[], AbstractConnection]:
            return made(
                urls[server],
                username=username,
                password=password,
                ca_file=ca_file,
                timeout=seconds,
            )

        def connect(server: str) -> Connection:
            return RedisConnection(make(server))

        def loops(server: str) -> LoopConnections:
            connection = make(server)
            limit = connection().socket_timeout or timeout
            return LoopConnections(lambda: socket_of(connection()), loop_protocol, limit)

        self._make = make
        # An event loop cannot wait for a socket with TLS by its descriptor alone.
        is_plain = not any(url.startswith("rediss:") for url in urls.values())
        named = [(name_of(url), weight) for url, weight in servers]
        super().__init__(
            named, signer, "redis", connect, loops=loops if is_plain else None, **options
        )

    def status(self, server: str) -> dict[str, str]:
        # Long, because a person waits, and a busy server must not look unreachable.
        return info.status(server, self._make(server, PATIENCE))

    def remarks(self, status: Mapping[str, str]) -> list[tuple[str, str]]:
        return info.remarks(status)
