"""The messages of HTTP/1.1 (RFC 9112): requests, and answers that are read as they arrive.

Python's own client takes the headers of an answer for those of an email, and urllib3 wraps it: the
two take several times as long for a small file as all the rest of its import.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# None of these takes more than linear time, whatever a server sends.
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\r\n]*))?\r?\n")
_HEADER = re.compile(
    r"^([!#$%&'*+.^_`|~0-9a-z-]+)[ \t]*:([^\r\n]*)\r?$", re.IGNORECASE | re.MULTILINE
)
_FOLDED = re.compile(r"\r?\n[ \t]+")
_LINE = re.compile(rb"\n")
_END = re.compile(rb"\n\r?\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_LENGTH = re.compile(r"[0-9]{1,18}")
_LONGEST_HEAD = 64 * 1024
_LONGEST_LINE = 8 * 1024
HEAD_SECONDS = 30.0
"""From the first byte to the last one of the headers, or of a line between the chunks of a body. A
socket's time-out is for each byte."""
_BLOCK = 64 * 1024
"""Bytes that are received at a time before a body."""
_WITHOUT_BODY = {204, 304}
_IGNORED = 16
"""The most interim answers (1xx) before an answer."""


class BrokenAnswerError(OSError):
    """An answer that is no HTTP, or that ends too early."""


class NoAnswerError(BrokenAnswerError):
    """The connection ended before an answer."""


class Socket(Protocol):
    """What this module uses of a connection's socket."""

    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...


def request(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Return a request without a body. Raises ValueError for a header that would be two."""
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {headers[name]}" for name in headers]]
    text = "\r\n".join(lines)
    if text.count("\n") != len(headers) or text.count("\r") != len(headers):
        raise ValueError("a header has a line end in it")
    return f"{text}\r\n\r\n".encode("latin-1")


class Line:
    """The bytes that arrive on a connection."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self._block = b""
        self._at = 0
        """The position in the block of the first byte that is not taken yet."""

    @property
    def is_empty(self) -> bool:
        """Whether all bytes that have arrived are taken."""
        return self._at == len(self._block)

    def take(self, most: int) -> bytes:
        """Return up to ``most`` bytes, as soon as there are some; none at the end."""
        if self._at == len(self._block):
            return self.socket.recv(most)
        taken = self._block[self._at : self._at + most]
        self._at += len(taken)
        return taken

    def take_through(self, end: re.Pattern[bytes], longest: int) -> bytes:
        """Return the bytes up to the end of what a pattern finds, ``longest`` at most. Raises
        BrokenAnswerError."""
        begun = None
        while (found := end.search(self._block, self._at)) is None:
            have = len(self._block) - self._at
            if have >= longest:
                raise BrokenAnswerError("the server sent too many headers, or too long ones")
            begun = begun or (time.monotonic() if have else None)
            if begun is not None and time.monotonic() - begun > HEAD_SECONDS:
                raise BrokenAnswerError("the server sent its headers too slowly")
            more = self.socket.recv(_BLOCK)
            if not more:
                kind = BrokenAnswerError if have else NoAnswerError
                raise kind("the connection ended before an answer")
            self._block = self._block[self._at :] + more
            self._at = 0
        taken = self._block[self._at : found.end()]
        self._at = found.end()
        return taken


class Answer:
    """An answer, whose body is read as it arrives. The names of its headers are in lower case."""

    def __init__(self, line: Line, method: str, over: Callable[[bool], None]) -> None:
        """Wait for the answer to a request. ``over`` is called once, when the answer is read or
        closed, with whether the connection can take another request. Raises OSError."""
        self._line = line
        self._over: Callable[[bool], None] | None = over
        for _ in range(_IGNORED):
            version = self._read_head()
            if self.status >= 200:
                break
        else:
            raise BrokenAnswerError("the server sent too many interim answers")
        wish = self.headers.get("connection", "").lower()
        self._stays = "close" not in wish and (version == b"1" or "keep-alive" in wish)
        self.left: int | None = None
        """Bytes of the body that are not read yet; None: not known."""
        self._chunked = self._is_in_chunks = False
        if method == "HEAD" or self.status in _WITHOUT_BODY:
            self.left = 0
        else:
            self._frame()
        if self.left == 0 and not self._chunked:
            self._end()

    def _read_head(self) -> bytes:
        """Read the status and the headers; return the minor version of HTTP."""
        head = self._line.take_through(_END, _LONGEST_HEAD)
        status = _STATUS.match(head)
        if status is None:
            raise BrokenAnswerError("the server does not answer in HTTP/1.1")
        self.status = int(status[2])
        self.reason = (status[3] or b"").decode("latin-1").strip()
        text = head[status.end() :].decode("latin-1")
        if "\n " in text or "\n\t" in text:
            text = _FOLDED.sub(" ", text)
        self.headers: dict[str, str] = {}
        for name, value in _HEADER.findall(text):
            name, value = name.lower(), value.strip(" \t")
            former = self.headers.get(name)
            self.headers[name] = value if former is None else f"{former}, {value}"
        return status[1]

    def _frame(self) -> None:
        """Find out where the body ends (RFC 9112, section 6.3)."""
        coding = self.headers.get("transfer-encoding")
        if coding is not None:
            if coding.lower() != "chunked":
                raise BrokenAnswerError(
                    f"the server sent it in an encoding that was not asked for ({coding})"
                )
            self._chunked, self.left = True, 0
            # Two lengths may be an attack on what lies between.
            self._stays = self._stays and "content-length" not in self.headers
            return
        lengths = {each.strip() for each in self.headers.get("content-length", "").split(",")}
        if len(lengths) > 1:
            raise BrokenAnswerError("the server sent two different lengths")
        (length,) = lengths
        if _LENGTH.fullmatch(length):
            self.left = int(length)

    def read(self, most: int) -> bytes:
        """Return up to ``most`` bytes of the body, as soon as there are some; none at its end.
        Raises OSError."""
        if self._over is None:
            return b""
        if self._chunked and not self.left:
            self._begin_chunk()
            if not self._chunked:
                return b""
        piece = self._line.take(most if self.left is None else min(most, self.left))
        if self.left is not None:
            if not piece:
                raise BrokenAnswerError(f"the connection ended {self.left} bytes too early")
            self.left -= len(piece)
        if not self._chunked and (self.left == 0 or not piece):
            self._end()
        return piece

    def _begin_chunk(self) -> None:
        if self._is_in_chunks and self._line.take_through(_LINE, _LONGEST_LINE).strip():
            raise BrokenAnswerError("the server sent a chunk of another size than it said")
        self._is_in_chunks = True
        line = self._line.take_through(_LINE, _LONGEST_LINE)
        size = _CHUNK.fullmatch(line)
        if size is None:
            raise BrokenAnswerError("the server sent a chunk without its size")
        self.left = int(size[1], 16)
        if not self.left:
            while self._line.take_through(_LINE, _LONGEST_LINE).strip():
                pass  # a trailer
            self._chunked = False
            self._end()

    def _end(self) -> None:
        self._give_back(stays=self._stays and self.left == 0 and self._line.is_empty)

    def close(self) -> None:
        """Read nothing more."""
        self._give_back(stays=False)

    def _give_back(self, *, stays: bool) -> None:
        over, self._over = self._over, None
        if over is not None:
            over(stays)
