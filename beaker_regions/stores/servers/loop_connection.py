"""A connection to one server that belongs to one event loop. It only fetches.

Requests are pipelined: the next one is sent before the last one is answered, and answers come in
the order of the requests. What tasks ask for in one turn of the loop is one request. A request
that was sent takes no more keys: its answer may be older than a call that begins now.

A task that is cancelled gives up its future, and not the place of its request: the answer to a
request is read whoever still waits for it. If that cannot be done, because the server hangs, closes
or answers nonsense, the connection ends. So no answer is taken for that to another request.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextvars import Context
from functools import partial
from time import monotonic
from typing import Protocol

from beaker_regions.entries.known import Known
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.runtime import threads
from beaker_regions.runtime.interruptions import is_interruption

MOST_KEYS = 500
"""Keys of one request, about."""
_RECEIVE = 64 * 1024
"""Bytes read from a socket at once."""
_PATIENCE, _SLOWEST = 20, 100_000
"""An answer in pieces may take this many time-outs. After that, it must have brought this many
bytes a second."""
_NEAR = 0.0001
"""Seconds. A server that answers sooner has often answered as soon as the request is sent. Then the
task goes on without a turn of the loop, which takes as long as everything else."""
_WITHOUT_A_TURN = 0.0002
"""Seconds. After that, the loop has a turn, so that its other tasks run."""
_ONCE_MORE = 0.001
"""Seconds. If the loop was busy with other things, a time-out is over before the answer is read. So
the loop reads what has arrived before the connection ends."""

Answer = dict[str, bytes] | StoreUnavailableError | None
"""The items of a request by key, also those of other tasks; None: the known answer; or the failure,
which is not raised: a future whose exception nobody takes would be logged."""

ELSEWHERE = bytes(2)
"""In an answer, this very object is the item of a key that another server may have. Only a thread
asks there."""


class GetProtocol(Protocol):
    """Requests and answers, as `beaker_regions.stores.memcached.text_protocol` has them."""

    def get_request(self, keys: Iterable[str]) -> bytes: ...
    def read_items(self, answer: bytes, at: int, found: dict[str, bytes]) -> tuple[int, int]: ...
    def expect(self, known: Known) -> None: ...


class ServerState(Protocol):
    """The server as all connections of the process know it."""

    def has_answered(self) -> None:
        """Note that it works."""

    def has_failed(self, error: StoreUnavailableError) -> StoreUnavailableError | None:
        """Note that it failed; return the error for the callers. None: another server may have
        what they ask for."""


class _Request(asyncio.Future[Answer]):
    """One request, and the future of the first task that waits for its answer."""

    # Set where they differ, since this is made for every hit.
    keys: Collection[str]
    known: Known | None = None
    """The answer that is expected; None: any."""
    sent_at = 0.0
    tries = 0
    _others: Sequence[asyncio.Future[Answer]] = ()

    def join(self, keys: Iterable[str]) -> asyncio.Future[Answer]:
        """Fetch further items, for another task."""
        if not isinstance(self.keys, dict):
            self.keys = dict.fromkeys(self.keys)
        self.keys.update(dict.fromkeys(keys))
        future: asyncio.Future[Answer] = self.get_loop().create_future()
        self._others = [*self._others, future]
        return future

    def answer(self, answer: Answer) -> None:
        for future in (self, *self._others):
            if not future.done():  # its task may have been cancelled
                future.set_result(answer)


class LoopConnection:
    """All methods are called by the running event loop that it belongs to. ``connect`` is called
    by a thread. ``timeout``: seconds."""

    def __init__(
        self,
        connect: Callable[[], sockets.socket],
        protocol: Callable[[], GetProtocol],
        timeout: float,
        server: ServerState,
    ) -> None:
        self._connect = connect
        self._make_protocol, self._protocol = protocol, protocol()
        self._timeout = timeout
        self._server = server
        self._context = Context()
        """Callbacks run in it, so that they do not keep the context of a task."""
        self._queue: deque[_Request] = deque()
        """Requests that are not sent yet. The last one takes further keys."""
        self._sent: deque[_Request] = deque()
        """Requests whose answer has not arrived, the oldest first."""
        self._socket: sockets.socket | None = None
        self._is_connecting = False
        self._unsent = b""
        self._timer: asyncio.TimerHandle | None = None
        self._is_late = False
        self._at_once_until = 0.0
        """Until then, an answer is looked for as soon as its request is sent."""
        self._arrived_at = 0.0
        """When something arrived the last time."""
        self._begin_answer()

    def _begin_answer(self) -> None:
        self._began_at = self._arrived_at
        self._size = 0
        """Bytes of the answer that have arrived."""
        self._chunks: list[bytes] = []
        self._missing = 0
        """The least number of bytes with which more of the answer can be read."""
        self._found: dict[str, bytes] = {}

    def get(
        self, loop: asyncio.AbstractEventLoop, keys: Sequence[str], known: Known | None
    ) -> asyncio.Future[Answer]:
        """Fetch those of ``keys`` that exist, together with what other tasks ask for in this turn
        of the loop. ``known``: the answer that this process has had before."""
        queue = self._queue
        if queue and len(queue[-1].keys) < MOST_KEYS:
            return queue[-1].join(keys)
        request = _Request(loop=loop)
        request.keys = keys
        if self._sent or queue or self._socket is None:
            if not queue:
                loop.call_soon(self._send_queue, context=self._context)
            queue.append(request)
            return request
        # Nothing else is under way, so that often this is the only task.
        self._note_sent(loop, request)
        if known is not None:
            if not known.request:
                self._protocol.expect(known)
            if known.request:
                request.known = known
                self._send(known.request)
                if request.sent_at < self._at_once_until and self._socket is not None:
                    self._read()
                return request
        self._send(self._protocol.get_request(keys))
        return request

    def give_up(self) -> sockets.socket | None:
        """Return the socket, after the loop has ended, if another loop can use it."""
        socket, self._socket = self._socket, None
        if socket is None:
            return None
        if self._sent or self._unsent or self._chunks:
            socket.close()
            return None
        return socket

    def adopt(self, socket: sockets.socket) -> None:
        """Use a socket that another loop has given up."""
        self._socket = socket
        self._context.run(asyncio.get_running_loop().add_reader, socket.fileno(), self._read)

    # -- connecting ------------------------------------------------------------------------

    def _begin_to_connect(self) -> None:
        if self._is_connecting:
            return
        self._is_connecting = True
        connect = partial(self._connect_in_thread, asyncio.get_running_loop())
        try:
            threads.do_apart(connect)
        except RuntimeError as error:
            self._is_connecting = False
            self._fail(self._taken_queue(), error)

    def _connect_in_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        made: sockets.socket | Exception
        try:
            made = self._connect()
        except Exception as error:
            made = error.with_traceback(None)
        # The loop may be closed by now. Then the socket is closed with its last reference.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._connected, made, context=self._context)

    def _connected(self, made: sockets.socket | Exception) -> None:
        self._is_connecting = False
        if isinstance(made, Exception):
            self._fail(self._taken_queue(), made)
            return
        self._socket, self._protocol = made, self._make_protocol()
        asyncio.get_running_loop().add_reader(made.fileno(), self._read)
        self._send_queue()

    # -- sending ---------------------------------------------------------------------------

    def _send_queue(self) -> None:
        if not self._queue:
            return
        if self._socket is None:
            self._begin_to_connect()
            return
        loop = asyncio.get_running_loop()
        requests = self._taken_queue()
        for request in requests:
            self._note_sent(loop, request)
        self._send(b"".join([self._protocol.get_request(request.keys) for request in requests]))

    def _note_sent(self, loop: asyncio.AbstractEventLoop, request: _Request) -> None:
        request.sent_at = monotonic()
        request.tries += 1
        self._sent.append(request)
        if self._timer is None:
            self._timer = loop.call_later(self._timeout, self._check, context=self._context)

    def _taken_queue(self) -> list[_Request]:
        requests = list(self._queue)
        self._queue.clear()
        return requests

    def _send(self, request: bytes) -> None:
        if self._unsent:
            self._unsent += request
            return
        assert self._socket is not None
        try:
            sent = self._socket.send(request)
        except BlockingIOError:
            sent = 0
        except BaseException as error:
            self._end(error)
            return
        if sent < len(request):
            self._unsent = request[sent:]
            asyncio.get_running_loop().add_writer(self._socket.fileno(), self._send_rest)

    def _send_rest(self) -> None:
        assert self._socket is not None
        asyncio.get_running_loop().remove_writer(self._socket.fileno())
        request, self._unsent = self._unsent, b""
        self._send(request)

    # -- reading answers -------------------------------------------------------------------

    def _read(self) -> None:
        assert self._socket is not None
        try:
            try:
                received = self._socket.recv(_RECEIVE)
            except BlockingIOError:
                return
            if not received:
                raise ConnectionResetError("the server closed the connection")
            if not self._takes_known(received):
                self._take(received)
        except BaseException as error:
            self._end(error)

    def _takes_known(self, received: bytes) -> bool:
        """Answer with the known answer, if it is all that has arrived."""
        if len(self._sent) != 1 or self._chunks:
            return False
        request = self._sent[0]
        if request.known is None or request.known.answer != received:
            return False
        self._sent.popleft()
        self._arrived_at = self._began_at = now = monotonic()
        if request.sent_at >= self._at_once_until and now - request.sent_at < _NEAR:
            self._at_once_until = now + _WITHOUT_A_TURN
        self._server.has_answered()
        request.answer(None)
        return True

    def _take(self, received: bytes) -> None:
        """Read the answers that are complete."""
        self._arrived_at = monotonic()
        answer = received
        if self._chunks:
            self._size += len(received)
            self._chunks.append(received)
            self._missing -= len(received)
            if self._missing > 0:
                return
            answer = b"".join(self._chunks)
        at = 0
        while at < len(answer):
            if not self._sent:
                raise ValueError("the server answers more than it was asked")
            at, missing = self._protocol.read_items(answer, at, self._found)
            if missing:
                self._chunks, self._missing = [answer[at:]], missing
                self._size = self._size or len(answer) - at
                return
            found, request = self._found, self._sent.popleft()
            self._begin_answer()
            if found.keys() - request.keys:
                self._sent.appendleft(request)
                raise ValueError("the server answers what it was not asked")
            self._server.has_answered()
            request.answer(found)

    # -- failures --------------------------------------------------------------------------

    def _check(self) -> None:
        """End the connection if the oldest request is not answered in time."""
        self._timer = None
        if not self._sent:
            self._is_late = False
            return
        sent_at = self._sent[0].sent_at
        end = max(sent_at, self._arrived_at) + self._timeout
        now = monotonic()
        took = now - max(sent_at, self._began_at)
        if took > _PATIENCE * self._timeout and self._size < took * _SLOWEST:
            end = now
        if now < end:
            self._is_late = False
        elif not self._is_late:
            self._is_late, end = True, now + _ONCE_MORE
        else:
            self._end(TimeoutError("timed out"))
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(end - now, self._check, context=self._context)

    def _end(self, error: BaseException) -> None:
        """End the connection after an error. Raises the error if it is no failure of the server."""
        loop = asyncio.get_running_loop()
        socket, self._socket = self._socket, None
        if socket is not None:
            loop.remove_reader(socket.fileno())
            loop.remove_writer(socket.fileno())
            socket.close()
        if self._timer is not None:
            self._timer.cancel()
        requests = list(self._sent)
        self._sent.clear()
        self._timer, self._is_late, self._unsent = None, False, b""
        self._begin_answer()
        interrupted = is_interruption(error) or not isinstance(error, Exception)
        is_closed = isinstance(error, OSError) and not isinstance(error, TimeoutError)
        if is_closed or interrupted:
            # The server closed a kept connection, as after a restart.
            again = [request for request in requests if request.tries == 1]
            for request in again:
                request.known = None  # until it is sent, other tasks may join it
            self._queue.extendleft(reversed(again))
            requests = [request for request in requests if request.tries > 1]
        if requests:
            self._fail(requests, error)
        self._send_queue()
        if interrupted:
            raise error

    def _fail(self, requests: Sequence[_Request], error: BaseException) -> None:
        """Let requests fail. The server is not asked any more for a while."""
        if not isinstance(error, StoreUnavailableError):
            error = StoreUnavailableError("server", str(error) or repr(error))
        failure = self._server.has_failed(error.with_traceback(None))
        for request in requests:
            if failure is None:
                request.answer(dict.fromkeys(request.keys, ELSEWHERE))
            else:
                request.answer(failure.with_traceback(None))
