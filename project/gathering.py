"""A worker of gunicorn that gives its threads whole requests.

Gunicorn's own gives a connection a thread as soon as something of a request comes. Then as many
requests as there are threads, begun and not ended, stop a server that has no buffering proxy in
front. Here the loop that waits for all connections also reads from them, and a thread gets a
request when all of it has come. What does not come within a time is given up. Nor does a client
that takes no answer, or does not end a connection that is over, keep a thread or the loop.
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
"""In which a request has to come, from the connection's begin or from its first byte."""
BODY = 1024 * 1024
"""Bytes of a body; the application takes no more (``DATA_UPLOAD_MAX_MEMORY_SIZE``)."""
HELD = 64 * 1024 * 1024
"""Bytes of requests that were not answered yet, of a process. Beyond, the oldest of those that have
not come whole are given up."""
TAKING = 2.0
"""Seconds in which a client takes 64 KiB of its answer, when others wait for a thread."""
_HEAD = 1024 * 1024
"""Bytes of a head that are read; gunicorn refuses one that is as long."""
_PIECE = 64 * 1024
_ENDING = 2.0
"""Seconds for requests to come when the server has been told to end, and for a client to end a
connection that is over."""

_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
_CODED = re.compile(rb"\r\ntransfer-encoding[ \t]*:", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect[ \t]*:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REFUSAL = b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Refused(Exception):
    """A request whose body is not taken; with the status that says why."""


class Arriving:
    """A request, as far as it has come."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.ends = time.monotonic() + SECONDS
        self.head = 0
        """Bytes of the head with the empty line after it; 0 until that has come."""
        self._searched = 0
        self._body = 0

    def is_whole(self) -> bool:
        """Whether the request has come, or nothing that may still come matters. Raises
        Refused."""
        if not self.head and not self._find_head():
            return len(self.data) > _HEAD
        return len(self.data) >= self.head + self._body

    def expects(self) -> bool:
        """Whether the client waits for a word before it sends the body."""
        return self.head > 0 and _EXPECT.search(self.data, 0, self.head) is not None

    def _find_head(self) -> bool:
        end = self.data.find(b"\r\n\r\n", self._searched)
        if end < 0:
            self._searched = max(0, len(self.data) - 3)
            return False
        self.head = end + 4
        if _CODED.search(self.data, 0, self.head):
            # Django takes no body of unknown length, and browsers send none.
            raise Refused(b"411 Length Required")
        if length := _LENGTH.search(self.data, 0, self.head):
            # Of more digits than that no body is, and Python does not read thousands.
            self._body = int(length[1][-18:]) if len(length[1].lstrip(b"0")) < 18 else BODY + 1
            if self._body > BODY:
                raise Refused(b"413 Content Too Large")
        return True


class BoundedSocket(socket.socket):
    """The socket of a connection, on which no thread waits without end for a client."""

    since = 0.0
    """When the piece of an answer was begun that a thread is sending; 0: none is."""

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
    """The worker; everything here runs in its loop, and waits for nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arriving: dict[Any, Arriving] = {}
        """By connection; the oldest first."""
        self._given: dict[Any, int] = {}
        """The bytes of requests that threads have, or will have."""
        self._ending: dict[Any, float] = {}
        """Until when clients have time to end connections that are over."""
        self._held = 0

    def enqueue_req(self, conn: Any) -> None:
        """Take a connection on which a request may come, or has come in part."""
        if self.cfg.is_ssl:
            super().enqueue_req(conn)
            return
        if conn.parser is None:
            fileno = conn.sock.detach()
            conn.sock = BoundedSocket(fileno=fileno)
            arriving = Arriving()
        else:
            arriving = Arriving(conn.parser.unreader.take_buffered())
        conn.sock.setblocking(False)
        self._arriving[conn] = arriving
        self._held += len(arriving.data)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._receive, conn))
        if not self._proceed(conn, arriving):
            self._receive(conn)

    def finish_request(self, conn: Any, future: Any) -> None:
        """Go on with a connection after its answer."""
        self._held -= self._given.pop(conn, 0)
        if self.cfg.is_ssl or future.cancelled() or future.exception() or future.result():
            super().finish_request(conn, future)
        else:
            self._end(conn)  # gunicorn waits for the client, here in the loop

    def murder_pending(self) -> None:
        """Give up what takes too long; and what is oldest, where no connection is left for
        others: first those on which nobody waits for an answer."""
        super().murder_pending()
        now = time.monotonic()
        for conn, ends in list(self._ending.items()):
            if ends > now and not self._is_full():
                break
            self._close(conn)
        late = 0.0 if self.alive else SECONDS - _ENDING
        for conn, arriving in list(self._arriving.items()):
            if arriving.ends - late > now and not self._is_full():
                break
            self._give_up(conn)
        if len(self._given) > self.cfg.threads:
            for conn in self._given:
                if conn.sock.since and now - conn.sock.since > TAKING:
                    with suppress(OSError):
                        conn.sock.shutdown(socket.SHUT_RDWR)  # its thread learns that

    def _is_full(self) -> bool:
        full: bool = self.nr_conns >= self.worker_connections
        return full

    def _end(self, conn: Any) -> None:
        """End a connection once the client has, or the time for that is over. If it was closed
        before, what the client still sends would cost it the answer."""
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
        arriving = self._arriving.get(conn)
        if arriving is None:  # given up in this round of the loop
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
        had_head = arriving.head
        arriving.data += piece
        self._held += len(piece)
        if not self._proceed(conn, arriving) and not had_head and arriving.expects():
            with suppress(OSError):
                conn.sock.send(_CONTINUE)
        while self._held > HELD and self._arriving:
            self._give_up(next(iter(self._arriving)))

    def _proceed(self, conn: Any, arriving: Arriving) -> bool:
        """Give a request that has come to a thread, or refuse it; return whether it was one of
        both."""
        try:
            if not arriving.is_whole():
                return False
        except Refused as refused:
            self._forget(conn)
            with suppress(OSError):
                conn.sock.send(_REFUSAL % refused.args)
            self._end(conn)
            return True
        self._forget(conn)
        self._given[conn] = len(arriving.data)
        self._held += len(arriving.data)
        conn.init()
        conn.parser.unreader.unread(bytes(arriving.data))
        super().enqueue_req(conn)
        return True

    def _give_up(self, conn: Any) -> None:
        self._forget(conn)
        self.nr_conns -= 1
        conn.close()

    def _forget(self, conn: Any) -> None:
        self._held -= len(self._arriving.pop(conn).data)
        self._unregister(conn)

    def _unregister(self, conn: Any) -> None:
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
