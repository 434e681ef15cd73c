"""One connection to one Redis or Valkey server, through redis-py.

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
Sentinel closes them when a server becomes a replica. A server that an administrator turned into a
replica by hand, and back, keeps them, and so does a node of a cluster. So reads ask for the ids
again each `VERIFIED` seconds, in the same round trip.
"""

from __future__ import annotations

import hashlib
import re
import time
import traceback
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.connection import AbstractConnection
from redis.exceptions import (
    ConnectionError,  # noqa: A004 the library's own
    RedisError,
    ResponseError,
)

from beaker_regions.entries.records import GENERATION_SIZE
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.runtime.interruptions import is_interruption

VERIFIED = 1.0
"""Seconds after which a link asks again whether its server is the same master."""
EPOCH_SIZE = 8
STORED_SIZE = GENERATION_SIZE + EPOCH_SIZE
"""Bytes of a stored generation; nothing else that is stored has this size."""
_PIECE = 256 * 1024
"""Bytes that are sent within one time-out."""

_IDS = re.compile(rb"^(?:run_id|master_replid):(\S+)", re.MULTILINE)
_ROLE = re.compile(rb"^role:(\S+)", re.MULTILINE)
_CLUSTER = re.compile(rb"^(?:redis|server)_mode:cluster", re.MULTILINE)


@dataclass(eq=False, slots=True)
class Sent:
    """A request that was sent."""

    count: int
    """Of its answers."""
    answers: list[Any] | None = None
    """None: they are not read yet."""
    sent_at: float = field(default_factory=time.monotonic)


class Link:
    """A connection that belongs to one thread, and the epoch of its server. Several requests may be
    under way: whoever reads an answer first reads those to earlier requests, and keeps them.

    Methods raise OSError and the errors of redis-py; after any but ResponseError, `drop` it.
    """

    def __init__(self, connection: AbstractConnection, *, unsent: list[Link] | None = None) -> None:
        """Connect. ``unsent``: given for a node of a cluster. It collects the links of this thread
        with unsent requests, which are all sent as soon as one answer is read. Raises
        StoreUnavailableError for a replica, which only a node of a cluster may be, and for a node
        without ``unsent``."""
        self._connection = connection
        self._in_cluster = unsent is not None
        self._unsent = unsent
        self._requests: list[bytes] = []
        self.under_way: deque[Sent] = deque()
        self.is_dropped = False
        try:
            connection.connect()
            self.note(self.read(self.send(WHO, 2)))
        except BaseException:
            connection.disconnect()
            raise
        self.is_kept = False
        """Whether it has answered since it was made."""

    def note(self, answers: Sequence[bytes]) -> None:
        """Note what the server says of itself (`WHO`)."""
        self.epoch = epoch_of(answers, in_cluster=self._in_cluster)
        # A replica of a cluster refuses all that it is asked, until it becomes the master.
        is_master = b"role:master" in answers[1]
        self.verify_at = time.monotonic() + VERIFIED if is_master else 0.0

    def is_same(self, answers: Sequence[bytes]) -> bool:
        """Return whether the server is still the same master, and note it."""
        epoch = self.epoch
        try:
            self.note(answers)
        except StoreUnavailableError:
            return False
        return epoch == self.epoch

    def ask(self, request: bytes) -> Any:
        """Send a request while no other is under way, and return its answer."""
        self._connection.send_packed_command([request], check_health=False)
        return self._connection.read_response(disable_decoding=True)

    def send(self, request: bytes, answers: int) -> Sent:
        sent = Sent(answers)
        self.under_way.append(sent)
        self._requests.append(request)
        if self._unsent is None:
            self._flush()
        elif self not in self._unsent:
            self._unsent.append(self)
        return sent

    def _flush(self) -> None:
        request = b"".join(self._requests)
        self._requests.clear()
        pieces: list[bytes | memoryview] = [request]
        if len(request) > _PIECE:
            view = memoryview(request)
            pieces = [view[at : at + _PIECE] for at in range(0, len(request), _PIECE)]
        self._connection.send_packed_command(pieces, check_health=False)

    def read(self, sent: Sent) -> list[Any]:
        """Return the answers to a request. Raises ResponseError if one is an error."""
        while self._unsent:
            other = self._unsent.pop()
            try:
                other._flush()
            except (RedisError, OSError) as error:
                if other is self or interruption(error):
                    raise
                other.drop()
        limit = self._connection.socket_timeout or 1.0
        left = limit - (time.monotonic() - sent.sent_at)
        # The caller may have waited for other servers since.
        late = sent.answers is None and not self.is_dropped and left < limit / 2
        if late and not self._connection.can_read(max(left, 0.001)):
            raise TimeoutError("timed out")
        while sent.answers is None:
            if self.is_dropped:
                raise ConnectionError("another request ended the connection")
            first = self.under_way[0]
            first.answers = [self._answer() for _ in range(first.count)]
            self.under_way.popleft()
        for answer in sent.answers:
            if isinstance(answer, ResponseError):
                raise answer
        self.is_kept = True
        return sent.answers

    def _answer(self) -> Any:
        try:
            return self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            return error

    def is_closed(self) -> bool:
        """Return whether the server has closed it."""
        try:
            return not self.under_way and bool(self._connection.can_read(0))
        except ConnectionError:
            return True

    def drop(self) -> None:
        self.is_dropped, self.verify_at = True, 0.0
        if self._unsent and self in self._unsent:
            self._unsent.remove(self)
        self._connection.disconnect()


def interruption(error: BaseException) -> BaseException | None:
    """Return the exception that a signal handler raised, if this is one or was made of one."""
    if is_interruption(error):
        return error
    stack = {frame for frame, _ in traceback.walk_stack(None)}
    each = error.__context__
    # An exception that a caller of this library is handling now belongs to a frame that still runs.
    while each is not None and each.__traceback__ and each.__traceback__.tb_frame not in stack:
        if is_interruption(each):
            return each
        each = each.__context__
    return None


def epoch_of(answers: Sequence[bytes], *, in_cluster: bool = False) -> bytes:
    """Return the epoch of the server that gave these two answers to INFO. Raises
    StoreUnavailableError for one that cannot be read."""
    answer = b"\n".join(answers)
    role, ids = _ROLE.search(answer), _IDS.findall(answer)
    mend = None
    if role is None or len(ids) != 2:
        mend = "it does not tell its run_id and master_replid: allow the command INFO"
    elif in_cluster != bool(_CLUSTER.search(answer)):
        mend = f"it {wrong_type(in_cluster)}"
    elif role[1] != b"master" and not in_cluster:
        mend = "it is a replica: name the master in the option url"
    if mend is not None:
        raise StoreUnavailableError("server", mend)
    return hashlib.blake2b(b"\n".join(ids), digest_size=EPOCH_SIZE).digest()


def wrong_type(in_cluster: bool) -> str:
    """Return the error of a server that belongs to a cluster although its region does not, or the
    other way round."""
    if in_cluster:
        return "belongs to no Redis Cluster: set the type to 'ext:redis'"
    return "is a node of a Redis Cluster: set the type to 'ext:rediscluster'"


def of_epoch(values: Iterable[tuple[str, bytes | None]], epoch: bytes) -> dict[str, bytes]:
    """Return the values that exist, without the generations of another epoch."""
    found = {}
    for key, value in values:
        if value is not None:
            if len(value) != STORED_SIZE:
                found[key] = value
            elif value.endswith(epoch):
                found[key] = value[:GENERATION_SIZE]
    return found


def packed(*parts: bytes) -> bytes:
    """Return a request in the server's protocol (RESP)."""
    packed = [b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]
    return b"*%d\r\n%b" % (len(parts), b"".join(packed))


def get_request(keys: Iterable[str]) -> bytes:
    """Return the request for the values under ``keys``."""
    return packed(b"MGET", *map(str.encode, keys))


WHO = packed(b"INFO", b"server") + packed(b"INFO", b"replication")
