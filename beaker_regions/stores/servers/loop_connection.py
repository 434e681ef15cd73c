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
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from functools import partial
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
_ONCE_MORE = 0.001
"""Seconds. If the loop was busy with other things, a time-out is over before the answer is read. So
the loop reads what has arrived before the connection ends."""

Answer = dict[str, bytes] | StoreUnavailableError | None
"""The items of a request by key, also those of other tasks; None: the known answer; or the failure,
which is not raised: a future whose exception nobody takes would be logged."""


class GetProtocol(Protocol):
    """Requests and answers, as `beaker_regions.stores.memcached.text_protocol` has them."""

    def get_request(self, keys: Iterable[str]) -> bytes: ...
    def read_items(self, answer: bytes, at: int, found: dict[str, bytes]) -> tuple[int, int]: ...
    def expect(self, known: Known) -> None: ...


class ServerState(Protocol):
    """The server as all connections of the process know it."""

    def has_answered(self) -> None:
        """Note that it works."""

    def has_failed(self, error: StoreUnavailableError) -> StoreUnavailableError:
        """Note that it failed; return the error for the callers."""


class _Batch:
    """What is asked for in one request."""

    __slots__ = ("keys", "known", "sent_at", "tries", "waiting")

    def __init__(self, keys: Sequence[str], future: asyncio.Future[Answer]) -> None:
        self.keys = dict.fromkeys(keys)
        self.known: Known | None = None
        """The answer that is expected; None: any."""
        self.waiting = [future]
        self.sent_at = 0.0
        self.tries = 0

    def answer(self, answer: Answer) -> None:
        for future in self.waiting:
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
        self._queue: deque[_Batch] = deque()
        """Requests that are not sent yet. The last one takes further keys."""
        self._sent: deque[_Batch] = deque()
        """Requests whose answer has not arrived, the oldest first."""
        self._socket: sockets.socket | None = None
        self._is_connecting = False
        self._unsent = b""
        self._timer: asyncio.TimerHandle | None = None
        self._is_late = False
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

    def get(self, keys: Sequence[str], known: Known | None) -> asyncio.Future[Answer]:
        """Fetch those of ``keys`` that exist, together with what other tasks ask for in this turn
        of the loop. ``known``: the answer that this process has had before."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        queue = self._queue
        if queue and len(queue[-1].keys) < MOST_KEYS:
            batch = queue[-1]
            batch.keys.update(dict.fromkeys(keys))
            batch.waiting.append(future)
            return future
        batch = _Batch(keys, future)
        if self._sent or queue or self._socket is None:
            if not queue:
                loop.call_soon(self._send_queue, context=self._context)
            queue.append(batch)
        else:
            # Nothing else is under way, so that often this is the only task.
            self._note_sent(loop, batch)
            if known is None:
                self._send(self._protocol.get_request(keys))
                return future
            if known.request:
                batch.known = known
            else:
                self._protocol.expect(known)
            self._send(known.request or self._protocol.get_request(keys))
        return future

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
        batches = self._taken_queue()
        for batch in batches:
            self._note_sent(loop, batch)
        self._send(b"".join([self._protocol.get_request(batch.keys) for batch in batches]))

    def _note_sent(self, loop: asyncio.AbstractEventLoop, batch: _Batch) -> None:
        batch.sent_at = loop.time()
        batch.tries += 1
        self._sent.append(batch)
        if self._timer is None:
            self._timer = loop.call_later(self._timeout, self._check, context=self._context)

    def _taken_queue(self) -> list[_Batch]:
        batches = list(self._queue)
        self._queue.clear()
        return batches

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
        batch = self._sent[0]
        if batch.known is None or batch.known.answer != received:
            return False
        self._sent.popleft()
        self._arrived_at = self._began_at = asyncio.get_running_loop().time()
        self._server.has_answered()
        batch.answer(None)
        return True

    def _take(self, received: bytes) -> None:
        """Read the answers that are complete."""
        self._arrived_at = asyncio.get_running_loop().time()
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
            found, batch = self._found, self._sent.popleft()
            self._begin_answer()
            if not found.keys() <= batch.keys.keys():
                self._sent.appendleft(batch)
                raise ValueError("the server answers what it was not asked")
            self._server.has_answered()
            batch.answer(found)

    # -- failures --------------------------------------------------------------------------

    def _check(self) -> None:
        """End the connection if the oldest request is not answered in time."""
        self._timer = None
        if not self._sent:
            self._is_late = False
            return
        loop = asyncio.get_running_loop()
        sent_at = self._sent[0].sent_at
        end = max(sent_at, self._arrived_at) + self._timeout
        now = loop.time()
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
        self._timer = loop.call_at(end, self._check, context=self._context)

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
        batches = list(self._sent)
        self._sent.clear()
        self._timer, self._is_late, self._unsent = None, False, b""
        self._begin_answer()
        interrupted = is_interruption(error) or not isinstance(error, Exception)
        is_closed = isinstance(error, OSError) and not isinstance(error, TimeoutError)
        if is_closed or interrupted:
            # The server closed a kept connection, as after a restart.
            again = [batch for batch in batches if batch.tries == 1]
            for batch in again:
                batch.known = None  # until it is sent, other tasks may join it
            self._queue.extendleft(reversed(again))
            batches = [batch for batch in batches if batch.tries > 1]
        if batches:
            self._fail(batches, error)
        self._send_queue()
        if interrupted:
            raise error

    def _fail(self, batches: Sequence[_Batch], error: BaseException) -> None:
        """Let requests fail. The server is not asked any more for a while."""
        if not isinstance(error, StoreUnavailableError):
            error = StoreUnavailableError("server", str(error) or repr(error))
        failure = self._server.has_failed(error.with_traceback(None)).with_traceback(None)
        for batch in batches:
            batch.answer(failure)
