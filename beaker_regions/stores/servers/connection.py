"""A connection to one server, with the same methods for memcached and Redis, and for every client
library.

The libraries report a failure as a miss, choose servers and pickle values by themselves. Here a
connection has one server, values are only bytes, and a failure is an error. A connection belongs to
one thread of one process: no library lets two callers share one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from beaker_regions.entries.known import Known
from beaker_regions.errors import StoreUnavailableError

T = TypeVar("T")
K = TypeVar("K")

Halves = Generator[None, None, T]
"""A request in two halves: it is sent, and after the ``yield`` its answer is read. So other servers
can be asked in between. A large request has several such pairs."""


class NotANumberError(ValueError):
    """The value under a key is not a number."""


class Item(NamedTuple):
    """The value under a key, and a token that distinguishes it from every later value there."""

    value: bytes
    token: Any
    """Only the connection understands it."""


class Connection(ABC):
    """One thread's connection to one server. All times in seconds; an item may live for longer than
    its ``seconds``, and infinity is for ever.

    Every method raises StoreUnavailableError if the server fails: it refuses, does not answer in
    time, closes, or answers nonsense. It raises NotTakenError if the server works, but has no
    memory left for the request.
    """

    @abstractmethod
    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Fetch those of ``keys`` that exist, in one round trip."""

    def get_if_changed(self, known: Known) -> dict[str, bytes] | None:
        """As `get` of a known answer's keys. Returns None if the server answers the same, byte for
        byte."""
        return self.get(known.keys)

    @abstractmethod
    def add(self, key: str, value: bytes, seconds: float) -> bool:
        """Store if there is nothing under ``key``; return whether it was stored."""

    @abstractmethod
    def set(self, key: str, value: bytes, seconds: float) -> bool:
        """Store; False if the server does not take it (too large, out of memory)."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove ``key``, if it is there."""

    @abstractmethod
    def incr(self, key: str, amount: int) -> int | None:
        """Add to the decimal number under ``key``, atomically; None if there is none. Raises
        NotANumberError if there is another value.

        If the server closes the connection instead of answering, this is sent again.
        """

    @abstractmethod
    def gets(self, key: str) -> Item | None:
        """Fetch one key, to replace it with `cas`."""

    @abstractmethod
    def cas(self, key: str, value: bytes, seconds: float, seen: Item | None) -> bool | None:
        """Store if the item under ``key`` is still ``seen``; ``seen`` None: if there is still none.

        Returns False if it is another one, None if the server does not take the value.
        """

    # -- many at once, in halves -----------------------------------------------------------

    @abstractmethod
    def getting(self, keys: Sequence[str]) -> Halves[dict[str, bytes]]:
        """As `get`."""

    def getting_if_changed(self, known: Sequence[Known]) -> Halves[dict[str, bytes] | None]:
        """As `get_if_changed`, of several known answers."""
        keys = dict.fromkeys(key for each in known for key in each.keys)
        return (yield from self.getting(list(keys)))

    @abstractmethod
    def setting(self, keys: Sequence[str], value: bytes, seconds: float) -> Halves[dict[str, Item]]:
        """Store ``value`` under each of ``keys``, or delete the key if the server does not take it.
        Returns the items that are there then."""

    @abstractmethod
    def replacing(self, values: Mapping[str, bytes], seen: Mapping[str, Item]) -> Halves[list[str]]:
        """Store each of ``values``, without expiry, or remove the key, if the item under it is
        still the one in ``seen``; return the keys with another item."""

    @abstractmethod
    def deleting(self, keys: Sequence[str]) -> Halves[None]:
        """Remove each of ``keys`` that is there."""


def whole(request: Halves[T]) -> T:
    """Run a request in halves; return its answer."""
    while True:
        try:
            next(request)
        except StopIteration as end:
            answer: T = end.value
            return answer


def at_once(requests: Mapping[K, Halves[T]]) -> dict[K, T | StoreUnavailableError]:
    """Return the answers to requests that are made at the same time: all are sent before the first
    answer is read. The answer of a failed request is its StoreUnavailableError, which is not
    raised."""
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
        # If one is interrupted, the answers to the others are never read: end their connections.
        for request in requests.values():
            request.close()
    return answers


def added(stored: bool, resent: bool) -> bool:
    """Return the answer of an add. If it was sent twice, it may have found its own item: then
    raise StoreUnavailableError."""
    if resent and not stored:
        raise StoreUnavailableError("server", "it closed the connection before it answered")
    return stored
