"""A connection to one memcached server, in one manner for every client library.

The libraries answer a failure like a miss, pick servers and pickle values by themselves. Here a
connection has one server, values are bytes and nothing else, and a failure is an error.
Connections belong to one thread of one process: no library lets two callers share one.
"""

from __future__ import annotations

import math
import os
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from regions.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_MONTH = 30 * 24 * 60 * 60
"""Seconds; memcached reads a longer time to live as a date (protocol.txt, "Expiration times")."""
_LAST_DATE = 2**31 - 1
"""The last date that memcached understands; what is to live longer lives for good."""


def exptime_of(seconds: float) -> int:
    """Return memcached's form of a time to live; the server counts whole seconds and may take
    off up to one."""
    if math.isinf(seconds):
        return 0
    whole = math.ceil(seconds) + 1
    if whole <= _MONTH:
        return whole
    date = int(time.time()) + whole
    return date if date <= _LAST_DATE else 0


class NotANumber(ValueError):
    """What is stored under a key cannot be counted up."""


class Item(NamedTuple):
    """What lies under a key, and a token that tells it from whatever is stored there later."""

    value: bytes
    token: tuple[int, object]
    """The server's number of this very item ("cas unique"), and the connection that got it. A
    server that restarts begins its numbers anew, and ends its connections: a number says nothing
    on another one."""


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

    @abstractmethod
    def incr(self, key: str, amount: int) -> int | None:
        """Add to the decimal number under ``key``, at once; None when there is nothing. Raises
        NotANumber when there is something else.

        When the server closes the connection instead of answering, this is sent again.
        """

    @abstractmethod
    def gets(self, key: str) -> Item | None:
        """Fetch one key, to replace it with `cas`."""

    @abstractmethod
    def cas(self, key: str, value: bytes, exptime: int, seen: Item | None) -> bool | None:
        """Store if what lies under ``key`` is still what was seen; None: still nothing.

        Returns False when it is not, None when the server will not take the value.
        """


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
