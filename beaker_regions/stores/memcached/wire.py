"""Sockets to memcached: those of python-memcached, with the operating system's time-outs."""

from __future__ import annotations

import _socket
import select
import socket
import struct

import memcache

from beaker_regions.stores.servers.name_lookup import connect

_TIME = struct.Struct("ll")
"""Seconds and microseconds, in the system's form."""

_PLAIN = issubclass(socket.socket, _socket.socket)
"""Whether sockets are Python's own, and not those of a library such as gevent, which waits
itself."""


class Socket(socket.socket):
    """A socket with the system's time-outs, which raise BlockingIOError. With Python's own, each
    call makes two system calls, and releases the interpreter's lock in each."""

    def limit(self, seconds: float) -> None:
        """Limit every later call to ``seconds``."""
        if not _PLAIN:
            # The system's time-outs have no effect: the descriptor does not block.
            self.settimeout(seconds)
            return
        limit = _TIME.pack(int(seconds), max(1, int(seconds % 1 * 1e6)))
        self.settimeout(None)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.setsockopt(socket.SOL_SOCKET, option, limit)

    def __del__(self) -> None:
        # Its thread has ended. Only close it, without "quit": after a fork the parent process may
        # still use the connection.
        self.close()


class Host(memcache._Host):  # type: ignore[misc]
    """A server of python-memcached, with one connection. Raises OSError if that fails."""

    socket: Socket | None

    def __init__(self, server: str, timeout: float) -> None:
        # The library's own notation for IPv6.
        notation = f"inet6:{server}" if server.startswith("[") else server
        super().__init__(notation, socket_timeout=timeout)

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

    def connected(self) -> Socket:
        """Return a new connection."""
        seconds = self.socket_timeout
        if self.family != socket.AF_UNIX:
            fresh = connect(self.ip, self.port, seconds, Socket)
        else:
            fresh = Socket(socket.AF_UNIX, socket.SOCK_STREAM)
            fresh.settimeout(seconds)
            fresh.connect(self.address)
        fresh.limit(seconds)
        return fresh
