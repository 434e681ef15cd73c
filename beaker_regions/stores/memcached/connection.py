"""A connection to one memcached server, in one manner for every client library.

The libraries answer a failure like a miss, pick servers and pickle values by themselves. Here a
connection has one server, values are bytes and nothing else, and a failure is an error.
Connections belong to one thread of one process: no library lets two callers share one.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from beaker_regions.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")
K = TypeVar("K")

Halves = Generator[None, None, T]
"""A request in two halves: it is sent, and after the ``yield`` its answer is taken, so that others
can be asked in between. One that is large has several such pairs."""

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


class NotANumberError(ValueError):
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

    Every method raises StoreUnavailableError if the server fails: it refuses, does not answer in
    time, closes, or answers nonsense. It raises NotTakenError if the server works, but has no
    memory left for the request.
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
        NotANumberError when there is something else.

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

    # -- many at once, in halves -----------------------------------------------------------
    # Where a client library cannot do that, as here: one after the other.

    def getting(self, keys: Sequence[str]) -> Halves[dict[str, bytes]]:
        """As `get`."""
        yield
        return self.get(keys)

    def setting(self, keys: Sequence[str], value: bytes, exptime: int) -> Halves[dict[str, Item]]:
        """Store ``value`` under each of ``keys``, or nothing where the server will not take it.
        Returns what lies there then."""
        yield
        found = {}
        for key in keys:
            if not self.set(key, value, exptime):
                self.delete(key)
            elif (item := self.gets(key)) is not None:
                found[key] = item
        return found

    def replacing(self, values: Mapping[str, bytes], seen: Mapping[str, Item]) -> Halves[list[str]]:
        """Store, for good, each of ``values`` where what lies under its key is what was seen;
        return the keys where it is not."""
        yield
        return [key for key, value in values.items() if not self.cas(key, value, 0, seen[key])]

    def deleting(self, keys: Sequence[str]) -> Halves[None]:
        """Remove each of ``keys`` that is there."""
        yield
        for key in keys:
            self.delete(key)


def whole(request: Halves[T]) -> T:
    """Return the answer to a request in halves, as soon as it is there."""
    while True:
        try:
            next(request)
        except StopIteration as end:
            answer: T = end.value
            return answer


def at_once(requests: Mapping[K, Halves[T]]) -> dict[K, T | StoreUnavailableError]:
    """Return the answers to requests that are made at the same time: all are sent before the first
    answer is taken. For one that fails, its StoreUnavailableError, which is not raised."""
    answers: dict[K, T | StoreUnavailableError] = {}
    running = list(requests.items())
    try:
        while running:
            for name, request in tuple(running):
                try:
                    next(request)
                except StopIteration as end:
                    answers[name] = end.value
                except StoreUnavailableError as error:
                    # With its traceback it would keep this frame, and so a connection, alive.
                    answers[name] = error.with_traceback(None)
                else:
                    continue
                running.remove((name, request))
    finally:
        # When one is interrupted, nobody takes the answers to the others.
        for request in requests.values():
            request.close()
    return answers


def added(stored: bool, resent: bool) -> bool:
    """Return what an add says; one that was sent twice may have met what it stored itself."""
    if resent and not stored:
        raise StoreUnavailableError("server", "it closed the connection before it answered")
    return stored
