"""A worker of gunicorn that gives only whole requests to its threads.

Gunicorn's own worker gives a connection to a thread at the first byte of a request. A few clients
that never finish their requests can then occupy all threads, if no buffering proxy is in front.
Here the loop that waits for all connections also reads from them, and a thread gets a request when
all of it has arrived. A request that takes too long is dropped. A client that does not read its
answer, or does not close a finished connection, does not occupy a thread or the loop either.
"""

from __future__ import annotations

import errno
import os
import re
import selectors
import socket
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.workers.gthread import ThreadWorker

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 20.0
"""In which a request must arrive, from the start of the connection or from its first byte."""
BODY = 1024 * 1024
"""The most bytes of a body, as the application's ``DATA_UPLOAD_MAX_MEMORY_SIZE``."""
HELD = 64 * 1024 * 1024
"""The most bytes of unanswered requests in a process. With more, the oldest of those that have not
arrived completely are dropped."""
TAKING = 2.0
"""Seconds in which a client must read 64 KiB of its answer if others wait for a thread."""
_HEAD = 1024 * 1024
"""The most bytes of a head that are read. Gunicorn refuses one of this length."""
_PIECE = 64 * 1024
_ENDING = 2.0
"""Seconds for requests to arrive when the server shuts down, and for a client to close a finished
connection."""

_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
_CODED = re.compile(rb"\r\ntransfer-encoding[ \t]*:", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect[ \t]*:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REFUSAL = b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class RefusedRequestError(Exception):
    """A request whose body is refused. The argument is the status of the answer."""


class IncomingRequest:
    """A request that has not arrived completely."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.ends = time.monotonic() + SECONDS
        self.head = 0
        """Bytes of the head with the empty line after it; 0 until that has arrived."""
        self._searched = 0
        self._body = 0

    def is_whole(self) -> bool:
        """Whether the request has arrived, or its head is too long in any case. Raises
        RefusedRequestError."""
        if not self.head and not self._find_head():
            return len(self.data) > _HEAD
        return len(self.data) >= self.head + self._body

    def expects(self) -> bool:
        """Whether the client waits for ``100 Continue`` before it sends the body."""
        return self.head > 0 and _EXPECT.search(self.data, 0, self.head) is not None

    def _find_head(self) -> bool:
        end = self.data.find(b"\r\n\r\n", self._searched)
        if end < 0:
            self._searched = max(0, len(self.data) - 3)
            return False
        self.head = end + 4
        if _CODED.search(self.data, 0, self.head):
            # Django reads no body of unknown length, and browsers send none.
            raise RefusedRequestError(b"411 Length Required")
        if length := _LENGTH.search(self.data, 0, self.head):
            # No body has a length of 18 digits, and Python does not convert thousands of digits.
            self._body = int(length[1][-18:]) if len(length[1].lstrip(b"0")) < 18 else BODY + 1
            if self._body > BODY:
                raise RefusedRequestError(b"413 Content Too Large")
        return True


class BoundedSocket(socket.socket):
    """The socket of a connection. No thread waits endlessly for its client."""

    since = 0.0
    """When a thread began to send the current piece of an answer; 0: no thread sends."""

    def setblocking(self, flag: bool) -> None:
        self.settimeout(SECONDS if flag else 0.0)

    def sendall(self, data: Any, flags: int = 0) -> None:
        pieces = memoryview(data)
        for start in range(0, len(pieces), _PIECE):
            with self._sending():
                super().sendall(pieces[start : start + _PIECE], flags)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        end = os.fstat(file.fileno()).st_size if count is None else offset + count
        for start in range(offset, end, _PIECE):
            size = min(_PIECE, end - start)
            with self._sending():
                if super().sendfile(file, start, size) < size:
                    raise ConnectionResetError(errno.ECONNRESET, "the file has become shorter")
        return end - offset

    @contextmanager
    def _sending(self) -> Iterator[None]:
        self.since = time.monotonic()
        try:
            yield
        except TimeoutError as error:
            raise ConnectionResetError(errno.ECONNRESET, "the answer is not taken") from error
        finally:
            self.since = 0.0


class GatheringWorker(ThreadWorker):  # type: ignore[misc]
    """The worker. All methods run in its loop, so none of them waits."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._incoming: dict[Any, IncomingRequest] = {}
        """By connection, the oldest first."""
        self._in_threads: dict[Any, int] = {}
        """The bytes of requests that a thread has or will get, by connection."""
        self._ending: dict[Any, float] = {}
        """The time until which the client may close a finished connection, by connection."""
        self._held = 0

    def enqueue_req(self, conn: Any) -> None:
        """Take a connection on which a request may arrive, or has arrived in part."""
        if self.cfg.is_ssl:
            super().enqueue_req(conn)
            return
        if conn.parser is None:
            fileno = conn.sock.detach()
            conn.sock = BoundedSocket(fileno=fileno)
            incoming = IncomingRequest()
        else:
            incoming = IncomingRequest(conn.parser.unreader.take_buffered())
        conn.sock.setblocking(False)
        self._incoming[conn] = incoming
        self._held += len(incoming.data)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._receive, conn))
        if not self._proceed(conn, incoming):
            self._receive(conn)

    def finish_request(self, conn: Any, future: Any) -> None:
        """Continue with a connection after its answer."""
        self._held -= self._in_threads.pop(conn, 0)
        if self.cfg.is_ssl or future.cancelled() or future.exception() or future.result():
            super().finish_request(conn, future)
        else:
            self._end(conn)  # gunicorn's own method would wait for the client, in the loop

    def murder_pending(self) -> None:
        """Drop connections that take too long. If all connections are taken, drop the oldest too:
        first those whose client does not wait for an answer."""
        super().murder_pending()
        now = time.monotonic()
        for conn, ends in list(self._ending.items()):
            if ends > now and not self._is_full():
                break
            self._close(conn)
        late = 0.0 if self.alive else SECONDS - _ENDING
        for conn, incoming in list(self._incoming.items()):
            if incoming.ends - late > now and not self._is_full():
                break
            self._give_up(conn)
        if len(self._in_threads) > self.cfg.threads:
            for conn in self._in_threads:
                if conn.sock.since and now - conn.sock.since > TAKING:
                    with suppress(OSError):
                        conn.sock.shutdown(socket.SHUT_RDWR)  # its thread gets an error

    def _is_full(self) -> bool:
        full: bool = self.nr_conns >= self.worker_connections
        return full

    def _end(self, conn: Any) -> None:
        """Close a connection after the client has closed it, or after `_ENDING` seconds. If it were
        closed earlier while the client still sends, the client would lose the answer."""
        self._ending[conn] = time.monotonic() + _ENDING
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError):
            self._close(conn)

    def _drain(self, conn: Any, _: Any = None) -> None:
        if conn not in self._ending:  # closed in this round of the loop
            return
        try:
            if conn.sock.recv(_PIECE):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self._close(conn)

    def _close(self, conn: Any) -> None:
        del self._ending[conn]
        self._unregister(conn)
        self.nr_conns -= 1
        conn.close()

    def _receive(self, conn: Any, _: Any = None) -> None:
        incoming = self._incoming.get(conn)
        if incoming is None:  # dropped in this round of the loop
            return
        try:
            piece = conn.sock.recv(_PIECE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            piece = b""
        if not piece:
            self._give_up(conn)
            return
        had_head = incoming.head
        incoming.data += piece
        self._held += len(piece)
        if not self._proceed(conn, incoming) and not had_head and incoming.expects():
            with suppress(OSError):
                conn.sock.send(_CONTINUE)
        while self._held > HELD and self._incoming:
            self._give_up(next(iter(self._incoming)))

    def _proceed(self, conn: Any, incoming: IncomingRequest) -> bool:
        """Give a whole request to a thread, or refuse a bad one. Returns whether it did either."""
        try:
            if not incoming.is_whole():
                return False
        except RefusedRequestError as refused:
            self._forget(conn)
            with suppress(OSError):
                conn.sock.send(_REFUSAL % refused.args)
            self._end(conn)
            return True
        self._forget(conn)
        self._in_threads[conn] = len(incoming.data)
        self._held += len(incoming.data)
        conn.init()
        conn.parser.unreader.unread(bytes(incoming.data))
        super().enqueue_req(conn)
        return True

    def _give_up(self, conn: Any) -> None:
        self._forget(conn)
        self.nr_conns -= 1
        conn.close()

    def _forget(self, conn: Any) -> None:
        self._held -= len(self._incoming.pop(conn).data)
        self._unregister(conn)

    def _unregister(self, conn: Any) -> None:
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
