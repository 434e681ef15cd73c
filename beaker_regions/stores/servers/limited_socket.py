"""Sockets with the operating system's time-outs."""

from __future__ import annotations

import _socket
import socket
import struct

_TIME = struct.Struct("ll")
"""Seconds and microseconds, in the system's form."""

_PLAIN = issubclass(socket.socket, _socket.socket)
"""Whether sockets are Python's own, and not those of a library such as gevent, which waits
itself."""


class LimitedSocket(socket.socket):
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
