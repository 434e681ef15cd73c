"""The event loops of this process, and each one's connection to a server."""

from __future__ import annotations

import asyncio
import select
import socket as sockets
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from beaker_regions.entries.known import Known
from beaker_regions.runtime import forking
from beaker_regions.stores.servers.loop_connection import (
    Answer,
    GetProtocol,
    LoopConnection,
    ServerState,
)

MOST_IDLE = 32
"""Sockets that are kept for the next loop."""

_Connections = dict[int, tuple[weakref.ref[asyncio.AbstractEventLoop], LoopConnection]]


class Loops(Protocol):
    """How event loops ask a server."""

    def get(
        self, keys: Sequence[str], known: Known | None, server: ServerState
    ) -> asyncio.Future[Answer] | None:
        """Fetch those of ``keys`` that exist, for a task of the running loop; None: a thread has to
        ask."""


class LoopConnections:
    """A server's connections: one for each event loop, none used after a fork.

    A loop may be short: Django and asgiref make one for each call of `async_to_sync`. So the socket
    of a loop that has ended is used by the next one.
    """

    def __init__(
        self,
        connect: Callable[[], sockets.socket],
        protocol: Callable[[], GetProtocol],
        timeout: float,
    ) -> None:
        """``connect``, which a thread calls, returns a socket that does not block, and ``protocol``
        the protocol of one that was connected just now. ``timeout``: seconds for an answer."""
        self._connect, self._protocol, self._timeout = connect, protocol, timeout
        self._inherited: tuple[object, ...] = ()
        """Of the parent: kept and not used. Closing a socket would disturb the parent's loop."""
        self._connections: _Connections = {}
        self._idle: deque[sockets.socket] = deque()
        self._lock = threading.Lock()
        forking.register(self)

    def after_fork(self) -> None:
        self._inherited = (self._inherited, self._connections, self._idle)
        self._connections = {}
        self._idle = deque()
        self._lock = threading.Lock()

    def get(
        self, keys: Sequence[str], known: Known | None, server: ServerState
    ) -> asyncio.Future[Answer]:
        """Fetch those of ``keys`` that exist, for a task of the running loop."""
        loop = asyncio.get_running_loop()
        connection = self._connections.get(id(loop))
        if connection is not None and connection[0]() is loop:
            return connection[1].get(loop, keys, known)
        return self._begin(loop, server).get(loop, keys, known)

    def _begin(self, loop: asyncio.AbstractEventLoop, server: ServerState) -> LoopConnection:
        connection = LoopConnection(self._connect, self._protocol, self._timeout, server)
        with self._lock:
            self._take_back()
            self._connections[id(loop)] = (weakref.ref(loop), connection)
            while self._idle:
                socket = self._idle.pop()
                if not _has_arrived(socket):
                    connection.adopt(socket)
                    break
                socket.close()
        return connection

    def _take_back(self) -> None:
        """Take the sockets of loops that have ended."""
        for key, (reference, connection) in list(self._connections.items()):
            loop = reference()
            if loop is not None and not loop.is_closed():
                continue
            del self._connections[key]
            socket = connection.give_up()
            if socket is not None and len(self._idle) < MOST_IDLE:
                self._idle.append(socket)


def _has_arrived(socket: sockets.socket) -> bool:
    """Return whether something can be read from a socket: data, or the end of the connection."""
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))
