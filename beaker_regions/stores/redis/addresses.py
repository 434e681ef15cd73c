"""From the URL of a server to a connection of redis-py."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from redis.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)

from beaker_regions.stores.servers import name_lookup
from beaker_regions.stores.servers.limited_socket import LimitedSocket


class _Tcp(Connection):
    """Looks the server's name up within the time-out."""

    def _connect(self) -> socket.socket:
        seconds = self.socket_timeout or 1.0
        made = name_lookup.connect(self.host, self.port, seconds, LimitedSocket)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not isinstance(self, SSLConnection):
            made.limit(seconds)
        return made


class _Tls(SSLConnection, _Tcp):
    """As `_Tcp`, with TLS."""


_CLASSES = {SSLConnection: _Tls, UnixDomainSocketConnection: UnixDomainSocketConnection}

Address = tuple[str, int]
"""The host and port of a node of a cluster."""


def name_of(url: str) -> str:
    """Return the name of a server: its address and database, without user and password."""
    database = parse_url(url).get("db", 0)
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix:{parts.path}/{database}"
    return f"{name_of_node(node_of(url))}/{database}"


def node_of(url: str) -> Address:
    """Return the host and port of a server."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 6379


def name_of_node(node: Address) -> str:
    host, port = node
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def connector(
    url: str,
    *,
    username: str | None = None,
    password: str | None = None,
    ca_file: str | None = None,
    timeout: float = 0.05,
) -> Callable[..., AbstractConnection]:
    """Return a function that makes a connection, which is not connected yet. The URL comes before
    the other arguments; ``timeout`` is in seconds. The function takes options of redis-py by
    keyword, which come before all others."""
    given = parse_url(url)
    class_ = _CLASSES.get(given.pop("connection_class", None), _Tcp)
    options: dict[str, Any] = {"username": username, "password": password}
    options |= {"socket_timeout": timeout, "ssl_ca_certs": ca_file, **given}
    if class_ is not _Tls:
        options = {name: each for name, each in options.items() if not name.startswith("ssl_")}

    def make(**others: Any) -> AbstractConnection:
        wanted = options | others | {"protocol": 2}
        connection: AbstractConnection = class_(
            socket_connect_timeout=wanted["socket_timeout"], **wanted
        )
        return connection

    return make


def socket_of(connection: AbstractConnection) -> socket.socket:
    """Connect, and return the socket, which does not block and is the caller's own. Raises OSError
    or RedisError."""
    connection.connect()
    holder: Any = connection
    taken: socket.socket = holder._sock
    holder._sock = None
    taken.setblocking(False)
    return taken
