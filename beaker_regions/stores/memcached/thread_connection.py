"""One thread's connection to a memcached.

python-memcached's own commands report a failure as a miss and try other servers. So only its form
of an address is used, and requests are written and answers read here. There are two protocols, with
the same functions (`CommandProtocol`): a server that wants a password speaks the binary one.

A server that hangs costs one time-out. A server that sends rubbish, or never stops sending, costs
little more: an answer that is not of the protocol ends the connection.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

from beaker_regions.entries.known import Known
from beaker_regions.errors import NotTakenError, StoreUnavailableError
from beaker_regions.runtime.interruptions import is_interruption
from beaker_regions.stores.memcached.exptime import exptime_of
from beaker_regions.stores.memcached.text_protocol import NO_NUMBER, NOT_TAKEN, unexpected
from beaker_regions.stores.memcached.wire import Host
from beaker_regions.stores.servers.connection import (
    Connection,
    Halves,
    Item,
    NotANumberError,
    added,
    whole,
)
from beaker_regions.stores.servers.loop_connection import GetProtocol

T = TypeVar("T")

BATCH = 500
"""Keys of one message. Its answer fits into the system's buffers, so that client and server never
wait for each other to read."""
_RECEIVE = 64 * 1024
"""Bytes read from a socket at once."""
_MOST = 1 << 20
_PATIENCE, _SLOWEST = 20, 100_000
"""An answer in pieces may take this many time-outs. After that, it must have brought this many
bytes a second."""
_STORED = {b"STORED": True, b"NOT_STORED": False, b"EXISTS": False, b"NOT_FOUND": False}
_DELETED = {b"DELETED": True, b"NOT_FOUND": False}


class CommandProtocol(GetProtocol, Protocol):
    """Requests and answers, as `beaker_regions.stores.memcached.text_protocol` has them."""

    def gets_request(self, keys: Iterable[str]) -> bytes: ...
    def store_request(
        self, command: bytes, key: str, value: bytes, exptime: int, number: int = 0
    ) -> bytes: ...
    def delete_request(self, key: str) -> bytes: ...
    def expect_all(self, known: Sequence[Known]) -> tuple[bytes, bytes]: ...
    def incr_request(self, key: str, amount: int) -> bytes: ...
    def read_answer(self, answer: bytes) -> tuple[bytes | None, int]: ...
    def read_items(
        self,
        answer: bytes,
        at: int,
        found: dict[str, bytes],
        numbers: dict[str, bytes] | None = None,
    ) -> tuple[int, int]: ...


class ThreadConnection(Connection):
    """One thread's connection to a memcached."""

    def __init__(self, host: Host, protocol: CommandProtocol) -> None:
        self._host = host
        self._protocol = protocol
        self._sent = 0
        """How many times the current request was sent."""

    # -- one key ---------------------------------------------------------------------------

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        return self._ask(self._protocol.get_request(keys), self._values)

    def get_if_changed(self, known: Known) -> dict[str, bytes] | None:
        host = self._host
        socket = host.socket
        if socket is None or host.buffer or not known.request:
            self._protocol.expect(known)
            return self.get(known.keys)
        # Written out, because this is every hit.
        try:
            socket.sendall(known.request)
            answer = socket.recv(known.most)
        except BaseException as error:
            host.close_socket()
            if not _is_failure(error):
                raise
            if isinstance(error, BlockingIOError | TimeoutError):
                raise StoreUnavailableError("server", "timed out") from error
            return self.get(known.keys)
        if answer == known.answer:
            return None
        if not answer:
            # The server has closed the connection, as after a restart.
            host.close_socket()
            return self.get(known.keys)
        host.buffer = answer
        return self._ask(known.request, self._values, is_sent=True)

    def add(self, key: str, value: bytes, seconds: float) -> bool:
        answer = self._ask(self._storing(b"add", key, value, seconds), self._line)
        return added(self._meaning(answer, _STORED), self._sent > 1)

    def set(self, key: str, value: bytes, seconds: float) -> bool:
        answer = self._ask(self._storing(b"set", key, value, seconds), self._line)
        return self._is_stored(answer) is True

    def delete(self, key: str) -> None:
        self._meaning(self._ask(self._protocol.delete_request(key), self._line), _DELETED)

    def incr(self, key: str, amount: int) -> int | None:
        answer = self._ask(self._protocol.incr_request(key, amount), self._line)
        if answer.isdigit():
            return int(answer)
        if answer == NO_NUMBER:
            raise NotANumberError(key)
        self._meaning(answer, {b"NOT_FOUND": False})
        return None

    def gets(self, key: str) -> Item | None:
        return self._ask(self._protocol.gets_request([key]), self._items).get(key)

    def cas(self, key: str, value: bytes, seconds: float, seen: Item | None) -> bool | None:
        if seen is None:
            answer = self._ask(self._storing(b"add", key, value, seconds), self._line)
            stored = self._is_stored(answer)
            return stored if stored is None else added(stored, self._sent > 1)
        # A server that restarts closes its connections and numbers its items from 1 again ("cas
        # unique"), so a number is valid only on its connection.
        number, connection = seen.token
        if self._host.socket is not connection or self._host.has_ended():
            return False
        request = self._storing(b"cas", key, value, seconds, number)
        return self._is_stored(self._ask(request, self._line, resend=False))

    # -- many at once ----------------------------------------------------------------------

    def getting(self, keys: Sequence[str]) -> Halves[dict[str, bytes]]:
        found: dict[str, bytes] = {}
        for batch in _batches(keys):
            found |= yield from self._asking(self._protocol.get_request(batch), self._values)
        return found

    def getting_if_changed(self, known: Sequence[Known]) -> Halves[dict[str, bytes] | None]:
        request, answer = self._protocol.expect_all(known)
        if not request or sum([len(each.keys) for each in known]) > BATCH:
            return (yield from super().getting_if_changed(known))
        host = self._host

        def read() -> dict[str, bytes] | None:
            host.buffer = host.buffer or self._received(len(answer) + 1)
            if host.buffer != answer:
                return self._values()
            host.buffer = b""
            return None

        return (yield from self._asking(request, read))

    def setting(self, keys: Sequence[str], value: bytes, seconds: float) -> Halves[dict[str, Item]]:
        found: dict[str, Item] = {}
        refused: list[str] = []
        for batch in _batches(keys):
            requests = [self._storing(b"set", key, value, seconds) for key in batch]
            requests.append(self._protocol.gets_request(batch))

            def read(batch: Sequence[str] = batch) -> tuple[list[bytes], dict[str, Item]]:
                return self._lines(len(batch)), self._items()

            answers, items = yield from self._asking(b"".join(requests), read)
            refused += [
                key
                for key, answer in zip(batch, answers, strict=True)
                if not self._is_stored(answer)
            ]
            found |= items
        if refused:
            yield from self.deleting(refused)
        return {key: item for key, item in found.items() if key not in refused}

    def replacing(self, values: Mapping[str, bytes], seen: Mapping[str, Item]) -> Halves[list[str]]:
        lost: list[str] = []
        for batch in _batches(list(values)):
            socket = self._host.socket
            here = [key for key in batch if socket is not None and seen[key].token[1] is socket]
            lost += [key for key in batch if key not in here]
            if here:
                requests = [
                    self._storing(b"cas", key, values[key], math.inf, seen[key].token[0])
                    for key in here
                ]
                read = partial(self._lines, len(here))
                answers = yield from self._asking(b"".join(requests), read, resend=False)
                lost += [
                    key
                    for key, answer in zip(here, answers, strict=True)
                    if not self._is_stored(answer)
                ]
        return lost

    def deleting(self, keys: Sequence[str]) -> Halves[None]:
        for batch in _batches(keys):
            requests = b"".join([self._protocol.delete_request(key) for key in batch])
            read = partial(self._lines, len(batch))
            for answer in (yield from self._asking(requests, read)):
                self._meaning(answer, _DELETED)

    # -- reading answers -------------------------------------------------------------------

    def _line(self) -> bytes:
        """Return the answer to a request that changes an item."""
        host = self._host
        while True:
            line, end = self._protocol.read_answer(host.buffer)
            if line is not None:
                host.buffer = host.buffer[end:]
                return line
            host.buffer += self._receive()

    def _lines(self, count: int) -> list[bytes]:
        return [self._line() for _ in range(count)]

    def _items(self) -> dict[str, Item]:
        numbers: dict[str, bytes] = {}
        found, socket = self._values(numbers), self._host.socket
        if not all(numbers.values()):
            raise ValueError("the server does not number its items")
        return {key: Item(value, (int(numbers[key]), socket)) for key, value in found.items()}

    def _values(self, numbers: dict[str, bytes] | None = None) -> dict[str, bytes]:
        """Read the items of an answer, and into ``numbers`` their numbers."""
        # One read takes the whole answer, as a rule.
        host = self._host
        found: dict[str, bytes] = {}
        answer = host.buffer or self._receive()
        host.buffer = b""
        at, missing = self._protocol.read_items(answer, 0, found, numbers)
        while missing:
            answer = answer[at:] + self._receive(missing)
            at, missing = self._protocol.read_items(answer, 0, found, numbers)
        if len(answer) > at:
            raise ValueError("the server answers more than it was asked")
        return found

    def _is_stored(self, answer: bytes) -> bool | None:
        """Return whether the item was stored; None: the server does not take the value."""
        return None if NOT_TAKEN.match(answer) else self._meaning(answer, _STORED)

    def _meaning(self, answer: bytes, meanings: Mapping[bytes, bool]) -> bool:
        """Return the meaning of an answer. Any other answer ends the connection."""
        if answer not in meanings:
            error = unexpected(answer)
            if not isinstance(error, NotTakenError):
                self._host.close_socket()
            raise error
        return meanings[answer]

    # -- sending requests ------------------------------------------------------------------

    def _storing(
        self, command: bytes, key: str, value: bytes, seconds: float, number: int = 0
    ) -> bytes:
        """Return the request that stores a value; with the ``number`` of an item for ``cas``."""
        return self._protocol.store_request(command, key, value, exptime_of(seconds), number)

    def _ask(
        self, request: bytes, read: Callable[[], T], *, resend: bool = True, is_sent: bool = False
    ) -> T:
        return whole(self._asking(request, read, resend=resend, is_sent=is_sent))

    def _asking(
        self, request: bytes, read: Callable[[], T], *, resend: bool = True, is_sent: bool = False
    ) -> Halves[T]:
        """Send a request, unless it is sent, and read its answer. It is sent once more if the
        server has closed a kept connection, as after a restart, and ``resend`` allows it."""
        host = self._host
        kept, self._sent = host.socket is not None, 1
        try:
            try:
                if not is_sent:
                    self._send(request)
                sent_at = time.monotonic()
                yield
                with self._waiting_since(sent_at):
                    return read()
            except OSError as error:
                if not (kept and resend and _is_closed(error)):
                    raise
            host.close_socket()
            self._sent = 2
            self._send(request)
            return read()
        except BaseException as error:
            # The rest of the answer must not be read as that to the next request.
            host.close_socket()
            if _is_failure(error):
                raise StoreUnavailableError("server", str(error) or repr(error)) from error
            raise

    # -- the socket ------------------------------------------------------------------------

    def _send(self, request: bytes) -> None:
        """Send a request; connect first if there is no connection."""
        host = self._host
        try:
            if host.socket is None:
                host.connect_again()
            assert host.socket is not None
            host.socket.sendall(request)
        except BlockingIOError:
            raise TimeoutError("timed out") from None

    def _receive(self, size: int = 1) -> bytes:
        """Return at least ``size`` bytes from the server."""
        chunk = self._received(size)
        if len(chunk) >= size:
            return chunk
        chunks, received, started = [chunk], len(chunk), time.monotonic()
        while received < size:
            chunks.append(chunk := self._received(size - received))
            received += len(chunk)
            took = time.monotonic() - started
            if took > _PATIENCE * self._host.socket_timeout and received < took * _SLOWEST:
                raise TimeoutError(f"{received} bytes in {took:.1f} s")
        return b"".join(chunks)

    def _received(self, size: int) -> bytes:
        socket = self._host.socket
        try:
            chunk = socket and socket.recv(min(max(_RECEIVE, size), _MOST))
        except BlockingIOError:
            raise TimeoutError("timed out") from None
        if not chunk:
            raise ConnectionResetError("the server closed the connection")
        return chunk

    @contextlib.contextmanager
    def _waiting_since(self, sent_at: float) -> Iterator[None]:
        """In this block, count the time-out from ``sent_at`` (``time.monotonic()``), because the
        caller has waited for other servers since."""
        socket, limit = self._host.socket, self._host.socket_timeout
        left = limit - (time.monotonic() - sent_at)
        if socket is None or left > limit / 2:
            yield
            return
        socket.limit(max(left, 0.0))
        yield
        socket.limit(limit)


def _is_failure(error: BaseException) -> bool:
    """Return whether it is the server's failure, and not an interruption of this process."""
    return isinstance(error, OSError | ValueError) and not is_interruption(error)


def _is_closed(error: OSError) -> bool:
    """Return whether the server has closed a kept connection, as after a restart."""
    return not isinstance(error, TimeoutError) and not is_interruption(error)


def _batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(keys), BATCH):
        yield keys[at : at + BATCH]
