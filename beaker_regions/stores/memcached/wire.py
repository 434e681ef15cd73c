"""A memcached server and the connection to it, with the operating system's time-outs."""

from __future__ import annotations

import select
import socket

import memcache

from beaker_regions.stores.memcached import binary_protocol
from beaker_regions.stores.servers.limited_socket import LimitedSocket
from beaker_regions.stores.servers.name_lookup import connect


class Host:
    """A server, and one connection to it. ``timeout``: seconds. ``credentials``: user and password
    of a server that wants them. Raises OSError if it cannot be reached, StoreUnavailableError if it
    refuses them."""

    def __init__(
        self, server: str, timeout: float, credentials: tuple[str, str] | None = None
    ) -> None:
        # python-memcached's own notation for IPv6.
        notation = f"inet6:{server}" if server.startswith("[") else server
        (self._server,) = memcache.Client([notation]).servers
        self.socket_timeout = timeout
        self._credentials = credentials
        self.socket: LimitedSocket | None = None
        self.buffer = b""
        """What has arrived, and is not read yet."""

    def connect_again(self) -> None:
        """Connect; there is no connection."""
        self.socket, self.buffer = self.connected(), b""

    def close_socket(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None

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
        if self._server.family != socket.AF_UNIX:
            fresh = connect(self._server.ip, self._server.port, seconds, LimitedSocket)
        else:
            fresh = LimitedSocket(socket.AF_UNIX, socket.SOCK_STREAM)
            fresh.settimeout(seconds)
            fresh.connect(self._server.address)
        if self._credentials is not None:
            binary_protocol.sign_in(fresh, *self._credentials)
        fresh.limit(seconds)
        return fresh
