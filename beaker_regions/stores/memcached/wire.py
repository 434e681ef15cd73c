"""Sockets to memcached: those of python-memcached, with the operating system's time-outs."""

from __future__ import annotations

import select
import socket

import memcache

from beaker_regions.stores.memcached import binary_protocol
from beaker_regions.stores.servers.limited_socket import LimitedSocket
from beaker_regions.stores.servers.name_lookup import connect


class Host(memcache._Host):  # type: ignore[misc]
    """A server of python-memcached, with one connection. ``credentials``: user and password of a
    server that wants them. Raises OSError if it cannot be reached, StoreUnavailableError if it
    refuses them."""

    socket: LimitedSocket | None

    def __init__(
        self, server: str, timeout: float, credentials: tuple[str, str] | None = None
    ) -> None:
        # The library's own notation for IPv6.
        notation = f"inet6:{server}" if server.startswith("[") else server
        super().__init__(notation, socket_timeout=timeout)
        self._credentials = credentials

    def connect_again(self) -> None:
        """Connect; there is no connection."""
        self.socket, self.buffer = self.connected(), b""

    def has_ended(self) -> bool:
        """Return whether the server has closed the connection, or sends without a request. Closes
        it then."""
        if self.socket is None:
            return True
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        ended = bool(poll.poll(0))
        if ended:
            self.close_socket()
        return ended

    def connected(self) -> LimitedSocket:
        """Return a new connection, signed in."""
        seconds = self.socket_timeout
        if self.family != socket.AF_UNIX:
            fresh = connect(self.ip, self.port, seconds, LimitedSocket)
        else:
            fresh = LimitedSocket(socket.AF_UNIX, socket.SOCK_STREAM)
            fresh.settimeout(seconds)
            fresh.connect(self.address)
        if self._credentials is not None:
            binary_protocol.sign_in(fresh, *self._credentials)
        fresh.limit(seconds)
        return fresh
