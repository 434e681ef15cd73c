"""Entries on Redis or Valkey servers, spread and invalidated as on any servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beaker_regions.stores.redis import info
from beaker_regions.stores.redis.addresses import made, name_of
from beaker_regions.stores.redis.connection import RedisConnection
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

        self._make = make

        named = [(name_of(url), weight) for url, weight in servers]
        super().__init__(named, signer, "redis", connect, **options)

    def status(self, server: str) -> dict[str, str]:
        # Long, because a person waits, and a busy server must not look unreachable.
        return info.status(server, self._make(server, PATIENCE))

    def remarks(self, status: Mapping[str, str]) -> list[tuple[str, str]]:
        return info.remarks(status)
