"""A connection to one Redis or Valkey server, through redis-py.

Only the connections of redis-py are used. Its commands would be tried again by themselves, and cost
more than twice the time of these.

**Old data never comes to life again.** A server that restarts may load an old snapshot. A replica
that becomes the master may have lost the last writes. Either may bring back a record together with
the generations that it was loaded under. So each stored generation is followed by an *epoch*: a
hash of the ids of the server's process and of its replication history (``run_id`` and
``master_replid``). A server takes a new id of the first kind when it starts, and a new one of the
second kind when it becomes a master, and no data brings them back. A generation of another epoch
counts as missing: no record is current under it, and the next load replaces it. A replica is not
read.

The ids are asked for when a connection is made: a server that ends closes its connections, and
Sentinel and a cluster close them when a server becomes a replica. A server that an administrator
turned into a replica by hand, and back, would keep them. So reads ask for the ids again each
`VERIFIED` seconds, in the same round trip.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import (
    ConnectionError,  # noqa: A004 the library's own
    RedisError,
    ResponseError,
)

from beaker_regions.entries.records import GENERATION_SIZE
from beaker_regions.errors import NotTakenError, StoreUnavailableError
from beaker_regions.runtime.interruptions import is_interruption
from beaker_regions.stores.redis import scripts
from beaker_regions.stores.servers.connection import (
    Connection,
    Item,
    NotANumberError,
    added,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from redis.connection import AbstractConnection

    from beaker_regions.stores.servers.connection import Halves

VERIFIED = 1.0
"""Seconds after which a connection asks again whether its server is the same master."""
LARGEST = 512 * 1024**2 - 1
"""Bytes of the largest value that a server takes (``proto-max-bulk-len``)."""
_PIECE = 256 * 1024
"""Bytes that are sent within one time-out."""
_LONGEST = 100 * 365 * 24 * 60 * 60
"""Seconds; what lives for longer never expires."""
_EPOCH_SIZE = 8
_STORED_SIZE = GENERATION_SIZE + _EPOCH_SIZE
"""Bytes of a stored generation; nothing else that is stored has this size."""
_HEAD = 79
"""The last of the first bytes of a value, which tell it from any other: a record begins with its
authentication code, and everything else is shorter."""

_IDS = re.compile(rb"^(?:run_id|master_replid):(\S+)", re.MULTILINE)
_ROLE = re.compile(rb"^role:(\S+)", re.MULTILINE)


class RedisConnection(Connection):
    """A connection of those that ``make`` returns: a new one after each failure."""

    def __init__(self, make: Callable[[], AbstractConnection]) -> None:
        self._make = make
        self._connection: AbstractConnection | None = None
        self._epoch = b""
        self._verify_at = 0.0
        self._resent = False

    # -- one key ---------------------------------------------------------------------------

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        connection = self._connection
        if connection is None or time.monotonic() >= self._verify_at:
            return whole(self.getting(keys))
        try:
            connection.send_packed_command([self._request(keys)], check_health=False)
            return self._found(keys, connection.read_response(disable_decoding=True))
        except BaseException as error:
            if not _is_closed_by(error):
                raise self._failure(error) from _cause(error)
        self._drop()
        return whole(self.getting(keys))

    def add(self, key: str, value: bytes, seconds: float) -> bool:
        if len(value) == GENERATION_SIZE:
            self._ready()
            stored = self._run(scripts.ADD_GENERATION, [key], [value + self._epoch])
        else:
            stored = self._ask(packed(b"SET", key.encode(), value, b"NX", *_expiry(seconds)))
        return added(bool(stored), self._resent)

    def set(self, key: str, value: bytes, seconds: float) -> bool:
        if len(value) > LARGEST:
            return False
        try:
            self._ask(packed(b"SET", key.encode(), value, *_expiry(seconds)))
        except NotTakenError:
            return False
        return True

    def delete(self, key: str) -> None:
        whole(self.deleting([key]))

    def incr(self, key: str, amount: int) -> int | None:
        found: int | None = self._run(scripts.INCREASE, [key], [b"%d" % amount])
        return found

    def gets(self, key: str) -> Item | None:
        found = self._ask(packed(b"GET", key.encode()))
        value = found and self._without_epoch(found)
        return Item(value, (found, self._epoch)) if value else None

    def cas(self, key: str, value: bytes, seconds: float, seen: Item | None) -> bool | None:
        if len(value) > LARGEST:
            return None
        try:
            if seen is None:
                return self.add(key, value, seconds)
            found, epoch = seen.token
            self._ready(at_once=True)
            if epoch != self._epoch:
                # An update that was made on what the server has lost.
                return False
            if len(value) == GENERATION_SIZE:
                value += epoch
            arguments = [b"%d" % _HEAD, found[: _HEAD + 1], value, *_expiry(seconds)]
            return bool(self._run(scripts.REPLACE, [key], arguments, resend=False))
        except NotTakenError:
            return None

    # -- many at once ----------------------------------------------------------------------

    def getting(self, keys: Sequence[str]) -> Halves[dict[str, bytes]]:
        request = self._request(keys)
        if time.monotonic() < self._verify_at or self._connection is None:
            (values,) = yield from self._asking(request)
        else:
            values, *ids = yield from self._asking(request + WHO, 3)
            self._verify_at = time.monotonic() + VERIFIED
            if not self._is_same(ids):
                self._drop()
                (values,) = yield from self._asking(request)
        return self._found(keys, values)

    def _request(self, keys: Sequence[str]) -> bytes:
        return packed(b"MGET", *map(str.encode, keys))

    def _found(self, keys: Sequence[str], values: Sequence[bytes | None]) -> dict[str, bytes]:
        return of_epoch(zip(keys, values, strict=True), self._epoch)

    def setting(self, keys: Sequence[str], value: bytes, seconds: float) -> Halves[dict[str, Item]]:
        stored = yield from self._running(scripts.SET_MANY, keys, [value, *_expiry(seconds)])
        return {keys[at]: Item(value, (value, self._epoch)) for at in stored}

    def replacing(self, values: Mapping[str, bytes], seen: Mapping[str, Item]) -> Halves[list[str]]:
        self._ready(at_once=True)
        arguments = []
        for key, value in values.items():
            found, epoch = seen[key].token
            # A tombstone of another epoch may be one that came back.
            arguments += [found if epoch == self._epoch else b"", value + self._epoch]
        keys = list(values)
        lost = yield from self._running(scripts.REPLACE_MANY, keys, arguments, resend=False)
        return [keys[at] for at in lost]

    def deleting(self, keys: Sequence[str]) -> Halves[None]:
        yield from self._asking(packed(b"DEL", *map(str.encode, keys)))

    def _without_epoch(self, value: bytes) -> bytes | None:
        if len(value) != _STORED_SIZE:
            return value
        return value[:GENERATION_SIZE] if value.endswith(self._epoch) else None

    # -- requests --------------------------------------------------------------------------

    def _ask(self, request: bytes) -> Any:
        (answer,) = whole(self._asking(request))
        return answer

    def _run(
        self, script: bytes, keys: Sequence[str], arguments: Sequence[bytes], *, resend: bool = True
    ) -> Any:
        return whole(self._running(script, keys, arguments, resend=resend))

    def _running(
        self, script: bytes, keys: Sequence[str], arguments: Sequence[bytes], *, resend: bool = True
    ) -> Halves[Any]:
        """Run a script: all of it is one step of the server."""
        named = (b"%d" % len(keys), *map(str.encode, keys))
        request = packed(b"EVAL", script, *named, *arguments)
        (answer,) = yield from self._asking(request, resend=resend)
        return answer

    def _asking(
        self, request: bytes, answers: int = 1, *, resend: bool = True
    ) -> Halves[list[Any]]:
        """Send a request, and return so many answers. If the server has closed a kept connection,
        as after a restart, ask again if ``resend`` says so."""
        kept, self._resent = self._connection is not None, False
        try:
            try:
                self._send(request)
                sent_at = time.monotonic()
                yield
                return self._answers(answers, sent_at)
            except ConnectionError as error:
                if not (kept and resend and _is_closed_by(error)):
                    raise
                self._resent = True
            self._drop()
            self._send(request)
            return self._answers(answers, time.monotonic())
        except BaseException as error:
            raise self._failure(error) from _cause(error)

    def _failure(self, error: BaseException) -> BaseException:
        """Return the error to raise, after the connection was dropped, unless it is in order."""
        if isinstance(error, ResponseError):
            # This is the only answer to its request.
            if "maxmemory" in str(error):
                return NotTakenError(str(error))
            if "not an integer" in str(error):
                return NotANumberError(str(error))
        self._drop()
        if interruption := _interruption(error):
            return interruption
        if isinstance(error, RedisError | OSError | ValueError):
            return StoreUnavailableError("server", str(error) or repr(error))
        return error

    # -- the connection --------------------------------------------------------------------

    def _ready(self, *, at_once: bool = False) -> AbstractConnection:
        """Return the connection: a new one if there is none, or ``at_once`` if the server has
        closed it. Raises StoreUnavailableError."""
        connection = self._connection
        try:
            if at_once and connection is not None and _is_closed(connection):
                self._drop()
                connection = None
            return connection or self._connected()
        except BaseException as error:
            raise self._failure(error) from _cause(error)

    def _connected(self) -> AbstractConnection:
        connection = self._connection = self._make()
        connection.connect()
        connection.send_packed_command([WHO], check_health=False)
        self._epoch = epoch_of([connection.read_response(disable_decoding=True) for _ in range(2)])
        self._verify_at = time.monotonic() + VERIFIED
        return connection

    def _is_same(self, answers: Sequence[bytes]) -> bool:
        try:
            return epoch_of(answers) == self._epoch
        except StoreUnavailableError:
            return False

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _send(self, request: bytes) -> None:
        connection = self._connection or self._connected()
        pieces: list[bytes | memoryview] = [request]
        if len(request) > _PIECE:
            view = memoryview(request)
            pieces = [view[at : at + _PIECE] for at in range(0, len(request), _PIECE)]
        connection.send_packed_command(pieces, check_health=False)

    def _answers(self, count: int, sent_at: float) -> list[Any]:
        connection = self._connection
        assert connection is not None
        limit = connection.socket_timeout or 1.0
        left = limit - (time.monotonic() - sent_at)
        # The caller may have waited for other servers since.
        if left < limit / 2 and not connection.can_read(max(left, 0.001)):
            raise TimeoutError("timed out")
        return [connection.read_response(disable_decoding=True) for _ in range(count)]


def _is_closed(connection: AbstractConnection) -> bool:
    try:
        return bool(connection.can_read(0))
    except ConnectionError:
        return True


def _is_closed_by(error: BaseException) -> bool:
    """Return whether a server has closed a kept connection, as after a restart."""
    if not isinstance(error, ConnectionError) or _interruption(error):
        return False
    # The system's time-out.
    return not isinstance(error.__context__, BlockingIOError)


def _cause(error: BaseException) -> BaseException | None:
    """Return the cause to name, if another error is raised for this one."""
    return error if isinstance(error, RedisError) and not _interruption(error) else None


def _interruption(error: BaseException) -> BaseException | None:
    """Return the exception that a signal handler raised, if this is one or was made of one."""
    for each in (error, error.__context__):
        if each is not None and is_interruption(each):
            return each
    return None


def epoch_of(answers: Sequence[bytes]) -> bytes:
    """Return the epoch of the server that gave these two answers to INFO. Raises
    StoreUnavailableError for a replica."""
    answer = b"\n".join(answers)
    role, ids = _ROLE.search(answer), _IDS.findall(answer)
    if role is None or len(ids) != 2:
        raise StoreUnavailableError(
            "server", "it does not tell its run_id and master_replid: allow the command INFO"
        )
    if role[1] != b"master":
        raise StoreUnavailableError("server", "it is a replica: name the master in the option url")
    return hashlib.blake2b(b"\n".join(ids), digest_size=_EPOCH_SIZE).digest()


def of_epoch(values: Iterable[tuple[str, bytes | None]], epoch: bytes) -> dict[str, bytes]:
    """Return the values that exist, without the generations of another epoch."""
    found = {}
    for key, value in values:
        if value is not None:
            if len(value) != _STORED_SIZE:
                found[key] = value
            elif value.endswith(epoch):
                found[key] = value[:GENERATION_SIZE]
    return found


def packed(*parts: bytes) -> bytes:
    """Return a request in the server's protocol (RESP)."""
    packed = [b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]
    return b"*%d\r\n%b" % (len(parts), b"".join(packed))


WHO = packed(b"INFO", b"server") + packed(b"INFO", b"replication")


def _expiry(seconds: float) -> tuple[bytes, ...]:
    # A second more, in which a longer expiry that is configured now still finds the record.
    return () if seconds > _LONGEST else (b"PX", b"%d" % math.ceil((seconds + 1) * 1000))
