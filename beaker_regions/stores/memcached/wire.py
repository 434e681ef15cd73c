"""The sockets through which memcached is spoken to: python-memcached's, with time-outs that are the
system's.
"""

from __future__ import annotations

import _socket
import select
import socket
import struct

import memcache

from beaker_regions.stores.memcached.name_lookup import connect

_TIME = struct.Struct("ll")
"""Seconds and microseconds, as the system takes them."""

_PLAIN = issubclass(socket.socket, _socket.socket)
"""Whether sockets are Python's own, and not another library's, such as gevent's, that wait for the
system by themselves."""


class _Socket(socket.socket):
    """A socket whose time-outs are the system's; they end a call with BlockingIOError. With
    Python's own, each call is two to the system, with a pause for other threads in each."""

    def limit(self, seconds: float) -> None:
        """Let every later call take ``seconds`` at the most."""
        if not _PLAIN:
            # These never see the system's: the descriptor does not block.
            self.settimeout(seconds)
            return
        limit = _TIME.pack(int(seconds), max(1, int(seconds % 1 * 1e6)))
        self.settimeout(None)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.setsockopt(socket.SOL_SOCKET, option, limit)

    def __del__(self) -> None:
        # Its thread has ended. The server is told nothing: after a fork the parent process may
        # go on using the connection.
        self.close()


class Host(memcache._Host):  # type: ignore[misc]
    """A server of python-memcached's, with one connection. Raises OSError where that fails."""

    socket: _Socket | None

    def __init__(self, server: str, timeout: float) -> None:
        # Its own notation for IPv6.
        notation = f"inet6:{server}" if server.startswith("[") else server
        super().__init__(notation, socket_timeout=timeout)

    def connect_anew(self) -> None:
        """Connect; there is no connection."""
        self.socket, self.buffer = self._connected(), b""

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

    def _connected(self) -> _Socket:
        seconds = self.socket_timeout
        if self.family != socket.AF_UNIX:
            fresh = connect(self.ip, self.port, seconds, _Socket)
        else:
            fresh = _Socket(socket.AF_UNIX, socket.SOCK_STREAM)
            fresh.settimeout(seconds)
            fresh.connect(self.address)
        fresh.limit(seconds)
        return fresh
