"""The requests to one Redis or Valkey server, over a `beaker_regions.stores.redis.link.Link`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from redis.exceptions import (
    ConnectionError,  # noqa: A004 the library's own
    RedisError,
    ResponseError,
)

from beaker_regions.entries.records import GENERATION_SIZE
from beaker_regions.errors import NotTakenError, StoreUnavailableError
from beaker_regions.stores.redis import scripts
from beaker_regions.stores.redis.link import (
    WHO,
    Link,
    Sent,
    get_request,
    interruption,
    of_epoch,
    packed,
)
from beaker_regions.stores.servers.connection import (
    Connection,
    Halves,
    Item,
    NotANumberError,
    added,
    whole,
)

Request = bytes | Callable[[bytes], bytes]
"""A request, or a function that makes one for the epoch of the server."""
LARGEST = 512 * 1024**2 - 1
"""Bytes of the largest value that a server takes (``proto-max-bulk-len``)."""
_LONGEST = 100 * 365 * 24 * 60 * 60
"""Seconds; a value with a longer life never expires."""
_HEAD = 79
"""The last of the first bytes of a value, which tell it from any other: a record begins with its
authentication code, and everything else is shorter."""
_NO_HEAD = bytes(_HEAD + 2)
"""Longer than the first bytes of any value."""


class RedisConnection(Connection):
    """A connection over a link that ``connect`` makes: a new one after each failure."""

    def __init__(self, connect: Callable[[], Link]) -> None:
        self._connect = connect
        self._link: Link | None = None
        self._epoch = b""
        """That of the server that gave the last answer."""
        self._resent = False

    # -- one key ---------------------------------------------------------------------------

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        link = self._link
        if link is None or link.under_way or time.monotonic() >= link.verify_at:
            return whole(self.getting(keys))
        try:
            return of_epoch(zip(keys, link.ask(get_request(keys)), strict=True), link.epoch)
        except BaseException as error:
            if not self._is_to_ask_again(error):
                raise self._failure(error) from cause(error)
        return whole(self.getting(keys))

    def add(self, key: str, value: bytes, seconds: float) -> bool:
        request: Request = packed(b"SET", key.encode(), value, b"NX", *_expiry(seconds))
        if len(value) == GENERATION_SIZE:
            request = partial(_add_generation, key, value)
        self._resent = False
        return added(bool(self._ask(request, stores=True)), self._resent)

    def set(self, key: str, value: bytes, seconds: float) -> bool:
        if len(value) > LARGEST:
            return False
        request = packed(b"SET", key.encode(), value, *_expiry(seconds))
        try:
            self._ask(request, stores=True)
        except NotTakenError:
            return False
        return True

    def delete(self, key: str) -> None:
        whole(self.deleting([key]))

    def incr(self, key: str, amount: int) -> int | None:
        request = _eval(scripts.INCREASE, [key], [b"%d" % amount])
        found: int | None = self._ask(request)
        return found

    def gets(self, key: str) -> Item | None:
        request = packed(b"GET", key.encode())
        found = self._ask(request)
        value = found and of_epoch([(key, found)], self._epoch).get(key)
        return Item(value, (found, self._epoch)) if value else None

    def cas(self, key: str, value: bytes, seconds: float, seen: Item | None) -> bool | None:
        if len(value) > LARGEST:
            return None

        def request(epoch: bytes) -> bytes:
            assert seen is not None
            # If the server has lost the value, no stored value has this head.
            head = seen.token[0][: _HEAD + 1] if seen.token[1] == epoch else _NO_HEAD
            stored = value + epoch if len(value) == GENERATION_SIZE else value
            return _eval(scripts.REPLACE, [key], [b"%d" % _HEAD, head, stored, *_expiry(seconds)])

        try:
            if seen is None:
                return self.add(key, value, seconds)
            return bool(self._ask(request, resend=False, stores=True))
        except NotTakenError:
            return None

    # -- many at once ----------------------------------------------------------------------

    def getting(self, keys: Sequence[str]) -> Halves[dict[str, bytes]]:
        request = get_request(keys)
        link = self._link
        if link is None or time.monotonic() < link.verify_at:
            (values,) = yield from self._asking(request)
        else:
            values, *ids = yield from self._asking(request + WHO, 3)
            if not (self._link and self._link.is_same(ids)):
                self._drop()
                (values,) = yield from self._asking(request)
        return of_epoch(zip(keys, values, strict=True), self._epoch)

    def setting(self, keys: Sequence[str], value: bytes, seconds: float) -> Halves[dict[str, Item]]:
        request = _eval(scripts.SET_MANY, keys, [value, *_expiry(seconds)])
        (stored,) = yield from self._asking(request, stores=True)
        return {keys[at]: Item(value, (value, self._epoch)) for at in stored}

    def replacing(self, values: Mapping[str, bytes], seen: Mapping[str, Item]) -> Halves[list[str]]:
        """As `Connection.replacing`. Generations are not replaced, but deleted: they would take
        memory on every server until they are evicted."""
        keys = list(values)

        def request(epoch: bytes) -> bytes:
            # A tombstone of another epoch may be one that came back.
            tokens = [seen[key].token for key in keys]
            found = [value if of == epoch else b"" for value, of in tokens]
            return _eval(scripts.DELETE_MANY, keys, found)

        (lost,) = yield from self._asking(request, resend=False)
        return [keys[at] for at in lost]

    def deleting(self, keys: Sequence[str]) -> Halves[None]:
        request = packed(b"DEL", *map(str.encode, keys))
        yield from self._asking(request)

    # -- requests --------------------------------------------------------------------------

    def _ask(self, request: Request, *, resend: bool = True, stores: bool = False) -> Any:
        (answer,) = whole(self._asking(request, resend=resend, stores=stores))
        return answer

    def _asking(
        self, request: Request, answers: int = 1, *, resend: bool = True, stores: bool = False
    ) -> Halves[list[Any]]:
        """Send a request, and return so many answers. If the server has closed a kept connection,
        as after a restart, ask again if ``resend`` says so. ``stores``: whether it may store a new
        key."""
        try:
            if not resend and self._link is not None and self._link.is_closed():
                self._drop()
            try:
                sent = self._send(request, answers)
                yield
                return self._read(sent)
            except ConnectionError as error:
                kept = self._link is not None and self._link.is_kept
                if not (kept and resend and _is_closed_by(error)):
                    raise
                self._resent = True
            self._drop()
            return self._read(self._send(request, answers))
        except BaseException as error:
            raise self._failure(error) from cause(error)

    def _send(self, request: Request, answers: int) -> Sent:
        link = self._link
        if link is None or link.is_dropped:
            self._link = None
            link = self._link = self._connect()
        content = request if isinstance(request, bytes) else request(link.epoch)
        return link.send(content, answers)

    def _read(self, sent: Sent) -> list[Any]:
        assert self._link is not None
        answers = self._link.read(sent)
        self._epoch = self._link.epoch
        return answers

    def _is_to_ask_again(self, error: BaseException) -> bool:
        """Return whether a failed read is to be made again on a new connection."""
        if not _is_closed_by(error):
            return False
        self._drop()
        return True

    def _failure(self, error: BaseException) -> BaseException:
        """Return the error to raise, after the connection was dropped, unless it is in order."""
        if isinstance(error, ResponseError):
            if "maxmemory" in str(error):
                return NotTakenError(str(error))
            if "not an integer" in str(error):
                return NotANumberError(str(error))
        self._drop()
        if interrupted := interruption(error):
            return interrupted
        if isinstance(error, RedisError | OSError | ValueError):
            return StoreUnavailableError("server", str(error).rstrip(".") or repr(error))
        return error

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.drop()


def _is_closed_by(error: BaseException) -> bool:
    """Return whether a server has closed a kept connection, as after a restart."""
    if not isinstance(error, ConnectionError) or interruption(error):
        return False
    # The system's time-out.
    return not isinstance(error.__context__, BlockingIOError)


def cause(error: BaseException) -> BaseException | None:
    """Return the cause to name, if another error is raised for this one."""
    return error if isinstance(error, RedisError) and not interruption(error) else None


def _eval(script: bytes, keys: Sequence[str], arguments: Sequence[bytes]) -> bytes:
    """Return the request for a script: all of it is one step of the server."""
    return packed(b"EVAL", script, b"%d" % len(keys), *map(str.encode, keys), *arguments)


def _add_generation(key: str, generation: bytes, epoch: bytes) -> bytes:
    return _eval(scripts.ADD_GENERATION, [key], [generation + epoch])


def _expiry(seconds: float) -> tuple[bytes, ...]:
    # A second more, in which a longer expiry that is configured now still finds the record.
    return () if seconds > _LONGEST else (b"PX", b"%d" % math.ceil((seconds + 1) * 1000))
