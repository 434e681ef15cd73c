"""A worker of gunicorn that gives its threads whole requests.

Gunicorn's own gives a connection a thread as soon as something of a request comes. Then as many
requests as there are threads, begun and not ended, stop a server that has no buffering proxy in
front. Here the loop that waits for all connections also reads from them, and a thread gets a
request when all of it has come. What does not come within a time is given up.
"""

from __future__ import annotations

import re
import selectors
import time
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

SECONDS = 20.0
"""In which a request has to come, from the connection's begin or from its first byte."""
BODY = 1024 * 1024
"""Bytes of a body; the application takes no more (``DATA_UPLOAD_MAX_MEMORY_SIZE``)."""
HELD = 64 * 1024 * 1024
"""Bytes of requests that have not come whole, of a process. Beyond, the oldest are given up."""
_HEAD = 1024 * 1024
"""Bytes of a head that are read; gunicorn refuses one that is as long."""
_PIECE = 64 * 1024
_ENDING = 2.0
"""Seconds for requests to come when the server has been told to end."""

_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding[ \t]*:", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect[ \t]*:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class TooLarge(Exception):
    """A request whose body is longer than any that is taken."""


class Arriving:
    """A request, as far as it has come."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.ends = time.monotonic() + SECONDS
        self.head = 0
        """Bytes of the head with the empty line after it; 0 until that has come."""
        self._searched = 0
        self._body: int | None = 0
        """Bytes; None for one in chunks, the last of which tells that it is."""

    def is_whole(self) -> bool:
        """Whether the request has come, or nothing that may still come matters. Raises
        TooLarge."""
        if not self.head and not self._find_head():
            return len(self.data) > _HEAD
        if self._body is not None:
            return len(self.data) >= self.head + self._body
        if len(self.data) > self.head + BODY:
            raise TooLarge
        return self._find(b"0\r\n\r\n") >= 0

    def expects(self) -> bool:
        """Whether the client waits for a word before it sends the body."""
        return self.head > 0 and _EXPECT.search(self.data, 0, self.head) is not None

    def _find_head(self) -> bool:
        end = self._find(b"\r\n\r\n")
        if end < 0:
            return False
        self.head = self._searched = end + 4
        if _CHUNKED.search(self.data, 0, self.head):
            self._body = None
        elif length := _LENGTH.search(self.data, 0, self.head):
            # Of more digits than that no body is, and Python does not read thousands.
            self._body = int(length[1][-18:]) if len(length[1].lstrip(b"0")) < 18 else BODY + 1
            if self._body > BODY:
                raise TooLarge
        return True

    def _find(self, mark: bytes) -> int:
        """Return where ``mark`` is, -1 if it has not come. What was searched is not again."""
        found = self.data.find(mark, self._searched)
        if found < 0:
            self._searched = max(self._searched, len(self.data) - len(mark) + 1)
        return found


class GatheringWorker(ThreadWorker):  # type: ignore[misc]
    """The worker; everything here runs in its loop, and waits for nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arriving: dict[Any, Arriving] = {}
        """By connection; the oldest first."""
        self._held = 0

    def enqueue_req(self, conn: Any) -> None:
        """Take a connection on which a request may come, or has come in part."""
        if self.cfg.is_ssl:
            super().enqueue_req(conn)
            return
        arriving = Arriving(conn.parser.unreader.take_buffered() if conn.parser else b"")
        conn.sock.setblocking(False)
        self._arriving[conn] = arriving
        self._held += len(arriving.data)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._receive, conn))
        if not self._proceed(conn, arriving):
            self._receive(conn)

    def murder_pending(self) -> None:
        """Give up what takes too long; and what is oldest, where no connection is left for
        others."""
        super().murder_pending()
        now = time.monotonic()
        late = 0.0 if self.alive else SECONDS - _ENDING
        for conn, arriving in list(self._arriving.items()):
            if arriving.ends - late > now and self.nr_conns < self.worker_connections:
                break
            self._give_up(conn)

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
        while self._held > HELD:
            self._give_up(next(iter(self._arriving)))

    def _proceed(self, conn: Any, arriving: Arriving) -> bool:
        """Give a request that has come to a thread, refuse one that is too large; return whether
        it was one of both."""
        try:
            if not arriving.is_whole():
                return False
        except TooLarge:
            with suppress(OSError):
                conn.sock.send(_TOO_LARGE)
            self._give_up(conn)
            return True
        self._forget(conn)
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
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
