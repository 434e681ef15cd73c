"""Entries on a Redis Cluster, whose servers, the nodes, share 16384 hash slots.

A hit asks for a record and its generations in one request, so all of them must lie in one slot. So
entries are spread over `BUCKETS` hash tags, and each bucket has copies of the generations that its
entries depend on. To the rest of the library a bucket is a server of its own
(`beaker_regions.stores.servers.store`): it fails alone, and an invalidation reaches all buckets at
one moment. The nodes of a cluster come and go; the buckets stay.

**Which node has a bucket** is not asked for: a node that does not have it names the one that has
(MOVED), and has done nothing else. So a request is sent again in any case. Each thread has one
connection to a node, for all buckets there. redis-py's own client of clusters is not used: it sends
a write again after an error, although the write may have been carried out.

**While a slot moves**, its keys are on either node, and a request for several keys is refused
(TRYAGAIN). The new node takes a request for a key that the former one no longer has (ASK). Keys are
read and removed there, so that an invalidation finds each of them. Nothing is stored there: whether
the slot stays is not known yet, and if it goes back, what was stored on the new node may lie there
until it comes again. So a bucket that moves is like a server whose memory is full: what it lacks is
loaded and not stored, and an invalidation removes generations.

**No old generation comes to life**, because each carries the epoch of the node that it was stored
on (`beaker_regions.stores.redis.link`). On the new node of a slot, and on a replica that was
promoted, it counts as missing, whatever they have lost. Entries of a moved bucket are loaded again,
once. If the slot returns, those are current again that no invalidation removed on the other node.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from redis.connection import AbstractConnection
from redis.exceptions import AskError, MovedError, RedisError, ResponseError, TryAgainError

from beaker_regions.entries.known import Known
from beaker_regions.errors import NotTakenError, StoreUnavailableError
from beaker_regions.stores.redis.addresses import Address, socket_of
from beaker_regions.stores.redis.connection import RedisConnection, Request, cause
from beaker_regions.stores.redis.link import Link, interruption, packed
from beaker_regions.stores.redis.loop_protocol import LoopProtocol
from beaker_regions.stores.servers.connection import Halves, Item
from beaker_regions.stores.servers.event_loops import LoopConnections
from beaker_regions.stores.servers.loop_connection import Answer, ServerState

BUCKETS = 24
"""2, 3, 4, 6, 8 and 12 nodes have equal shares of them. With more, an invalidation would take more
work; fewer would not be spread well."""
_SLOTS = 16384
_REDIRECTS = 5
"""At most so many nodes are asked, one after the other."""
_SAME_MOMENT = 0.01
"""Seconds in which a thread does not try a node again. An invalidation asks all buckets of a node
at the same time, and waits only once for one that hangs."""

_LEFT_TO_THREADS = 1.0
"""Seconds for which no event loop asks a node that has failed."""


def slot_of(tag: str) -> int:
    """Return the hash slot of the keys with a tag."""
    return binascii.crc_hqx(tag.encode(), 0) % _SLOTS


def _tags() -> list[str]:
    """Return a tag for each bucket. Their slots are spread evenly, because a node has a range."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < BUCKETS:
        found.setdefault(slot_of(str(number)) * BUCKETS // _SLOTS, str(number))
        number += 1
    return [found[bucket] for bucket in range(BUCKETS)]


TAGS = _tags()


class _Links(threading.local):
    """A thread's links by address, when it failed to make one, and those with something to
    send."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.links: dict[Address, Link] = {}
        self.failed: dict[Address, float] = {}
        self.unsent: list[Link] = []
        self.inherited: tuple[object, ...] = ()
        """Of the parent process: kept, and not used."""

    def after_fork(self) -> None:
        self.inherited = (self.inherited, self.links)
        self.process, self.links, self.failed, self.unsent = os.getpid(), {}, {}, []


class Nodes:
    """The nodes of a cluster, as far as this process knows them: those that are configured, and
    those that were named by others."""

    def __init__(
        self, make: Callable[[Address], AbstractConnection], configured: Iterable[Address]
    ) -> None:
        self._make = make
        self._at: dict[int, Address] = {}
        """The node of each slot that was asked for."""
        self._failed = dict.fromkeys(configured, 0.0)
        """All that are known, and when each one failed."""
        self._mine = _Links()
        self._loops: dict[Address, _NodeLoops] = {}

    def link(self, slot: int) -> tuple[Address, Link]:
        """Return the node of a slot, and this thread's link to it. If the node is not known, or
        cannot be reached, return another one, which names it."""
        others = sorted(self._failed, key=self._failed.__getitem__)[:_REDIRECTS]
        known = [self._at[slot]] if slot in self._at else []
        failure: Exception | None = None
        for address in [*known, *others]:
            try:
                return address, self.link_to(address)
            except (RedisError, OSError, StoreUnavailableError) as error:
                if interruption(error):
                    raise
                failure = error
        assert failure is not None, "at least one is configured"
        raise failure

    def link_to(self, address: Address) -> Link:
        """Return this thread's link to a node."""
        mine = self._mine
        if mine.process != os.getpid():
            mine.after_fork()
        link = mine.links.get(address)
        if link is None or link.is_dropped:
            if time.monotonic() < mine.failed.get(address, 0.0) + _SAME_MOMENT:
                raise StoreUnavailableError("server", "it failed just now")
            try:
                link = mine.links[address] = Link(self._make(address), unsent=mine.unsent)
            except (RedisError, OSError, StoreUnavailableError) as error:
                if not interruption(error):
                    self.failed(address)
                raise
        return link

    def loops(self, slot: int) -> _NodeLoops | None:
        """Return the connections of event loops to a node: the one of a slot, or another one. None
        if that failed just now: threads try it again."""
        address = self._at.get(slot) or min(list(self._failed), key=self._failed.__getitem__)
        if time.monotonic() < self._failed[address] + _LEFT_TO_THREADS:
            return None
        found = self._loops.get(address)
        return found or self._loops.setdefault(address, _NodeLoops(self, address))

    def make(self, address: Address) -> AbstractConnection:
        return self._make(address)

    def has(self, slot: int, address: Address) -> None:
        """Note that a node has a slot."""
        self._failed.setdefault(address, 0.0)
        self._at[slot] = address

    def failed(self, address: Address) -> None:
        self._failed[address] = self._mine.failed[address] = time.monotonic()


class SlotLoops:
    """How event loops ask the node that has a slot. They learn from threads which one that is: what
    a node refuses, a thread asks for."""

    def __init__(self, nodes: Nodes, slot: int) -> None:
        self._nodes, self._slot = nodes, slot

    def get(
        self, keys: Sequence[str], known: Known | None, server: ServerState
    ) -> asyncio.Future[Answer] | None:
        loops = self._nodes.loops(self._slot)
        return None if loops is None else loops.get(keys, known, server)


class _NodeLoops(LoopConnections):
    """The connections of event loops to a node, for all buckets there. Threads change the state of
    the buckets: they ask after each failure."""

    def __init__(self, nodes: Nodes, address: Address) -> None:
        self._nodes, self._address = nodes, address
        limit = nodes.make(address).socket_timeout or 1.0
        protocol = partial(LoopProtocol, in_cluster=True)
        super().__init__(lambda: socket_of(nodes.make(address)), protocol, limit)

    def get(
        self, keys: Sequence[str], known: Known | None, server: ServerState
    ) -> asyncio.Future[Answer]:
        return super().get(keys, known, self)

    def has_answered(self) -> None:
        """Do nothing."""

    def has_failed(self, error: StoreUnavailableError) -> None:
        self._nodes.failed(self._address)


class ClusterConnection(RedisConnection):
    """As `RedisConnection`, to the node that has a slot."""

    def __init__(self, nodes: Nodes, slot: int) -> None:
        super().__init__(self._to_any)
        self._nodes, self._slot = nodes, slot
        self._address: Address = ("", 0)

    def setting(self, keys: Sequence[str], value: bytes, seconds: float) -> Halves[dict[str, Item]]:
        try:
            return (yield from super().setting(keys, value, seconds))
        except NotTakenError:
            yield from self.deleting(keys)
            return {}

    def replacing(self, values: Mapping[str, bytes], seen: Mapping[str, Item]) -> Halves[list[str]]:
        try:
            return (yield from super().replacing(values, seen))
        except NotTakenError:
            return list(values)

    def deleting(self, keys: Sequence[str]) -> Halves[None]:
        try:
            yield from super().deleting(keys)
        except NotTakenError:
            # One after the other: a request for one key is never refused.
            for key in keys:
                yield from super().deleting([key])

    def _asking(
        self, request: Request, answers: int = 1, *, resend: bool = True, stores: bool = False
    ) -> Halves[list[Any]]:
        for _ in range(_REDIRECTS):
            try:
                found = yield from super()._asking(request, answers, resend=resend)
                self._nodes.has(self._slot, self._address)
                return found
            except MovedError as error:
                self._move(self._named(error))
            except (AskError, TryAgainError) as error:
                if stores or not isinstance(error, AskError):
                    raise _moving(error) from error
                # If that node refuses it, the move has ended, or was taken back.
                with contextlib.suppress(AskError):
                    return self._asked(request, answers, self._named(error))
        raise StoreUnavailableError("server", "its nodes name one another")

    def _move(self, address: Address) -> None:
        self._nodes.has(self._slot, address)
        self._link = None
        try:
            self._address, self._link = address, self._nodes.link_to(address)
        except BaseException as error:
            raise self._failure(error) from cause(error)

    def _asked(self, request: Request, answers: int, address: Address) -> list[Any]:
        """Return the answers of the node that a slot is moving to. Raises AskError if it names
        another one."""
        link = None
        try:
            link = self._nodes.link_to(address)
            content = request if isinstance(request, bytes) else request(link.epoch)
            found = link.read(link.send(_ASKING + content, 1 + answers))[1:]
        except AskError:
            raise
        except TryAgainError as error:
            raise _moving(error) from error
        except BaseException as error:
            if link is not None:
                link.drop()
            raise self._failure(error) from cause(error)
        self._epoch = link.epoch
        return found

    def _named(self, error: AskError) -> Address:
        # A node that does not know its own name leaves it out.
        return error.host or self._address[0], error.port

    def _to_any(self) -> Link:
        self._address, link = self._nodes.link(self._slot)
        return link

    def _is_to_ask_again(self, error: BaseException) -> bool:
        return isinstance(error, AskError | TryAgainError) or super()._is_to_ask_again(error)

    def _failure(self, error: BaseException) -> BaseException:
        if isinstance(error, AskError | TryAgainError):
            return error
        link, made = self._link, super()._failure(error)
        if link is not None and type(made) is StoreUnavailableError:
            self._nodes.failed(self._address)
        return made


def _moving(error: ResponseError) -> NotTakenError:
    return NotTakenError(f"its hash slot is moving to another node: {error}")


_ASKING = packed(b"ASKING")
