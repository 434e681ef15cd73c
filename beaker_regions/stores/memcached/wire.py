"""What the text protocol of memcached is sent and received through: python-memcached's connection.

A server that does not get on costs a time-out, one that sends rubbish, or sends for ever, not much
more: what can be no line of the protocol ends the connection.
"""

from __future__ import annotations

import _socket
import contextlib
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import memcache

from beaker_regions.stores.memcached.name_lookup import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIME = struct.Struct("ll")
"""Seconds and microseconds, as the system takes them."""
_RECEIVE = 64 * 1024
"""Bytes asked of a socket at once."""
_MOST = 1 << 20
LONGEST_LINE = 2048
"""Bytes; a key has 250 at the most."""
_PATIENCE, _SLOWEST = 20, 100_000
"""For how many times the time-out an answer may take that comes in pieces, and from then on how
many bytes a second it must have brought."""


_PLAIN = issubclass(socket.socket, _socket.socket)
"""Whether sockets are Python's own, and not another library's, such as gevent's, that wait for the
system by themselves."""


class _Socket(socket.socket):
    """A socket whose time-outs are the system's. With Python's own, each call is two to the
    system, with a pause for other threads in each."""

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

    def recv(self, size: int, flags: int = 0) -> bytes:
        try:
            return super().recv(size, flags)
        except BlockingIOError:
            raise TimeoutError("timed out") from None

    def sendall(self, data: Any, flags: int = 0) -> None:
        try:
            super().sendall(data, flags)
        except BlockingIOError:
            raise TimeoutError("timed out") from None

    def __del__(self) -> None:
        # Its thread has ended. The server is told nothing: after a fork the parent process may
        # go on using the connection.
        self.close()


class Host(memcache._Host):  # type: ignore[misc]
    """A server of python-memcached's, with one connection. Raises OSError where that fails, and
    ValueError for what is not the protocol."""

    socket: _Socket | None

    def __init__(self, server: str, timeout: float) -> None:
        # Its own notation for IPv6.
        notation = f"inet6:{server}" if server.startswith("[") else server
        super().__init__(notation, socket_timeout=timeout)

    def send(self, request: bytes) -> None:
        """Send a request; connect first where there is no connection."""
        if self.socket is None:
            self.socket, self.buffer = self._connected(), b""
        self.socket.sendall(request)

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

    @contextlib.contextmanager
    def waiting_since(self, sent_at: float) -> Iterator[None]:
        """Let what is received in this block be waited for no longer than from ``sent_at`` on, by
        ``time.monotonic()``: the caller has waited for others."""
        limit = self.socket_timeout
        left = limit - (time.monotonic() - sent_at)
        if self.socket is None or left > limit / 2:
            yield
            return
        self.socket.limit(max(left, 0.0))
        yield
        self.socket.limit(limit)

    def receive(self, size: int = 1) -> bytes:
        """Return what the server sends, ``size`` bytes at least."""
        chunk = self._receive(size)
        if len(chunk) >= size:
            return chunk
        chunks, received, started = [chunk], len(chunk), time.monotonic()
        while received < size:
            chunks.append(chunk := self._receive(size - received))
            received += len(chunk)
            took = time.monotonic() - started
            if took > _PATIENCE * self.socket_timeout and received < took * _SLOWEST:
                raise TimeoutError(f"{received} bytes in {took:.1f} s")
        return b"".join(chunks)

    def _receive(self, size: int) -> bytes:
        chunk = self.socket and self.socket.recv(min(max(_RECEIVE, size), _MOST))
        if not chunk:
            raise ConnectionResetError("the server closed the connection")
        return chunk

    def readline(self) -> bytes:
        """Return the next line of the answer, without its end."""
        while (end := self.buffer.find(b"\r\n")) < 0:
            if len(self.buffer) > LONGEST_LINE:
                raise ValueError(f"the server answers {self.buffer[:80]!r}")
            self.buffer += self.receive()
        line: bytes = self.buffer[:end]
        self.buffer = self.buffer[end + 2 :]
        return line
