"""A connection to one memcached server, in one manner for every client library.

The libraries answer a failure like a miss, pick servers and pickle values by themselves. Here a
connection has one server, values are bytes and nothing else, and a failure is an error.
Connections belong to one thread of one process: no library lets two callers share one.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from regions.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Connection(ABC):
    """One thread's connection to one server. All times in seconds.

    Every method raises StoreUnavailable when the server fails: refuses, does not answer in time,
    closes, or answers nonsense.
    """

    @abstractmethod
    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Fetch what there is of ``keys``, in one round trip."""

    @abstractmethod
    def add(self, key: str, value: bytes, exptime: int) -> bool:
        """Store if there is nothing under ``key``; False when there is."""

    @abstractmethod
    def set(self, key: str, value: bytes, exptime: int) -> bool:
        """Store; False when the server will not take it (too large, out of memory)."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove ``key``, if it is there."""


def added(stored: bool, resent: bool) -> bool:
    """Return what an add says; one that was sent twice may have met what it stored itself."""
    if resent and not stored:
        raise StoreUnavailable("server", "it closed the connection before it answered")
    return stored


class Connections:
    """A server's connections: one a thread, none kept over a fork."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._local = threading.local()

    def mine(self) -> Connection:
        """Return the calling thread's connection."""
        local = self._local
        if getattr(local, "process", None) != os.getpid():
            # A connection that a fork has copied stays unused, and is kept: giving it up could
            # say goodbye on a socket that the parent goes on using.
            local.inherited = getattr(local, "connection", None)
            local.connection, local.process = self._connect(), os.getpid()
        connection: Connection = local.connection
        return connection
