"""Answers of servers, which libcurl reads as they arrive.

libcurl works only while the reader waits for bytes. So a reader that is slow slows the server down,
and few blocks of an answer are in memory.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pycurl

from tasks.sources.fetching.addresses import is_public
from tasks.sources.fetching.errors import FetchError, TemporaryError, failure_of

if TYPE_CHECKING:
    from collections.abc import Callable

READ_SECONDS = 30.0
"""Seconds without a byte after which a request fails."""
_WAIT = 0.1
_SHORTEST_WAIT = 0.001
_BLANK = b"\r\n", b"\n"


class Handle:
    """A handle of libcurl. It takes one request after the other, on one connection if it can."""

    def __init__(self) -> None:
        self.curl = pycurl.Curl()
        self.multi = pycurl.CurlMulti()
        self.lines: list[bytes] = []
        """Of the headers."""
        self.pieces: list[bytes] = []
        """Of the content, which nobody has read yet."""
        self.curl.setopt(pycurl.HEADERFUNCTION, self.lines.append)
        self.curl.setopt(pycurl.WRITEFUNCTION, self.pieces.append)

    def close(self) -> None:
        """End it, and its connection."""
        self.curl.close()
        self.multi.close()


class Answer:
    """The answer to a request."""

    status: int
    reason: str
    headers: dict[str, str]
    """By name, in lower case."""
    is_public: bool
    """Whether the server, or its proxy, has a public address."""

    def __init__(self, handle: Handle, over: Callable[[bool], None]) -> None:
        """Send the request that ``handle`` is set to, without waiting. ``over`` is called when the
        handle is free, with whether it can take another request."""
        self._curl = handle.curl
        self._multi = handle.multi
        self._lines = handle.lines
        self._pieces = handle.pieces
        self._over: Callable[[bool], None] | None = over
        self._error: FetchError | None = None
        self._is_complete = False
        self._began = time.monotonic()
        self._lines.clear()
        self._pieces.clear()
        self._multi.add_handle(self._curl)
        self._advance()

    def begin(self) -> None:
        """Wait for the headers. Raises FetchError."""
        status, *lines = self._head()
        if not self._is_complete:
            self._note_address()
        _, number, *reason = status.split(None, 2)
        self.status = int(number)
        self.reason = "".join(reason).strip()
        self.headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if colon:
                name, value = name.lower(), value.strip(" \t\r\n")
                known = self.headers.get(name)
                self.headers[name] = value if known is None else f"{known}, {value}"

    def read(self) -> bytes:
        """Return what arrives next of the content; nothing at its end. Raises FetchError."""
        ends = time.monotonic() + READ_SECONDS
        while not self._pieces and self._goes_on():
            self._step(ends, "no byte arrived for")
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken

    def arrives(self, most: int) -> bool:
        """Wait until all of the content is in memory, if it is at most ``most`` bytes; return
        whether it is. An error is raised when it is read."""
        ends = time.monotonic() + READ_SECONDS
        with suppress(FetchError):
            while sum(map(len, self._pieces)) <= most and self._goes_on():
                self._step(ends, "no byte arrived for", len(self._pieces))
        return self._is_complete

    def close(self) -> None:
        """Read nothing more."""
        over, self._over = self._over, None
        if over is not None:
            over(self._is_complete)

    def _head(self) -> list[str]:
        """Wait for the line of the status and those of the headers, and return them."""
        while not (head := _whole_head(self._lines)):
            if not self._goes_on():
                raise TemporaryError("the connection broke before the end of the headers")
            sent = self._began + self._curl.getinfo(pycurl.PRETRANSFER_TIME)
            self._step(sent + READ_SECONDS, "no whole answer within")
        return [line.decode("latin-1") for line in head]

    def _goes_on(self) -> bool:
        """Whether more of the answer is to come. Raises FetchError if it has broken."""
        if self._error is not None:
            raise self._error
        return not self._is_complete

    def _step(self, ends: float, failure: str, have: int = 0) -> None:
        """Let libcurl work, and wait if no more than ``have`` pieces have arrived. Raises
        TemporaryError at the time ``ends``."""
        if self._advance() and len(self._pieces) <= have:
            if time.monotonic() >= ends:
                raise TemporaryError(f"{failure} {READ_SECONDS:.0f} s")
            due = self._multi.timeout() / 1000
            # It does not wait for descriptors from 1024 on.
            if due and not self._multi.select(min(due, _WAIT) if due > 0 else _WAIT):
                time.sleep(_SHORTEST_WAIT)

    def _advance(self) -> bool:
        """Let libcurl work; return whether it goes on."""
        _, running = self._multi.perform()
        if not running:
            self._end()
        return bool(running)

    def _end(self) -> None:
        _, _, failed = self._multi.info_read()
        for _, code, message in failed:
            self._error = failure_of(code, message, self._curl)
        self._is_complete = self._error is None
        self._note_address()
        self._multi.remove_handle(self._curl)
        if self._is_complete:
            # The next request takes the handle, while this answer is still being used.
            self._lines, self._pieces = self._lines.copy(), self._pieces.copy()
            self.close()

    def _note_address(self) -> None:
        self.is_public = is_public(self._curl.getinfo(pycurl.PRIMARY_IP))


def _whole_head(lines: list[bytes]) -> list[bytes] | None:
    """Return the lines of an answer's head, if all of it has arrived."""
    begin = 0
    for at, line in enumerate(lines):
        if line in _BLANK:
            # Before the answer may be interim ones, and behind it the trailers of its content.
            if int(lines[begin].split(None, 2)[1]) >= 200:
                return lines[begin:at]
            begin = at + 1
    return None
