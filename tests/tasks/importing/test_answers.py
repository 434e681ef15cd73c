"""Answers in every form that HTTP/1.1 allows, and in forms that it does not, from a real socket."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tasks.sources.fetching import client, messages
from tasks.sources.fetching.access import Access
from tasks.sources.fetching.client import FetchError, TemporaryError
from tasks.sources.fetching.connections import use_access

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("_no_connections")


@pytest.fixture
def _no_connections() -> Iterator[None]:
    use_access(Access())
    yield
    use_access(Access())


class Server:
    """Sends one of its answers, bytes for bytes, for each request, and ends a connection after an
    answer that is in ``last``."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.answers: list[bytes] = []
        self.last: set[bytes] = set()
        self.connections = self.requests = 0
        self.trickle = False
        """Whether bytes follow an answer, one after the other, for ever."""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with accepted, contextlib.suppress(OSError):
            asked = b""
            while more := accepted.recv(4096):
                asked += more
                if asked.endswith(b"\r\n\r\n"):
                    self.requests += 1
                    asked, answer = b"", self.answers.pop(0)
                    is_last = answer in self.last
                    accepted.sendall(answer)
                    while self.trickle:
                        accepted.sendall(b"x")
                        time.sleep(0.01)
                    if is_last:
                        return

    def ask(self, *answers: bytes, last: bool = False, method: str = "GET") -> bytes:
        """Return the content of the answer to a request."""
        if last:
            self.last.update(answers)
        self.answers += answers
        asked = client.get if method == "GET" else client.describe
        answer = asked(self.url, {})
        try:
            return b"".join(client.body(answer))
        finally:
            answer.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


OK = b"HTTP/1.1 200 OK\r\n"
FIRST = OK + b"Content-Length: 5\r\n\r\nfirst"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        FIRST,
        FIRST.replace(b"\r", b""),
        OK + b"content-length:5  \r\n\r\nfirst",
        OK + b"Content-Length: 5, 5\r\nContent-Length: 5\r\n\r\nfirst",
        OK + b"X-Long: a\r\n folded\r\nContent-Length:\r\n 5\r\n\r\nfirst",
        OK + b"no header\r\nContent-Length: 5\r\n\r\nfirst",
        b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nfirst",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + FIRST,
        CHUNKED + b"5\r\nfirst\r\n0\r\n\r\n",
        CHUNKED + b"003 ;name=value\r\nfir\r\n2\r\nst\r\n0\r\nX-Trailer: 1\r\n\r\n",
    ],
)
def test_an_answer_is_read_and_its_connection_takes_the_next_request(
    server: Server, answer: bytes
) -> None:
    assert server.ask(answer) == b"first"
    assert server.ask(CHUNKED + b"6\r\nsecond\r\n0\r\n\r\n") == b"second"
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"\r\nfirst",
        b"HTTP/1.0 200 OK\r\n\r\nfirst",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nfirst",
        OK + b"Connection: Close\r\nContent-Length: 5\r\n\r\nfirst",
        # What follows the content is no answer to a request.
        FIRST + FIRST,
        CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n") + b"5\r\nfirst\r\n0\r\n\r\n",
    ],
)
def test_a_connection_that_cannot_go_on_is_left(server: Server, answer: bytes) -> None:
    assert server.ask(answer, last=True) == b"first"
    assert server.ask(FIRST.replace(b"first", b"again")) == b"again"
    assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "before an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "before an answer"),
        (b"220 mail.test\r\n\r\n", "does not answer in HTTP"),
        (b"HTTP/2 200\r\n\r\n", "does not answer in HTTP"),
        (OK + b"A: %d\r\n" % 1 * 20_000, "too many headers"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 50, "too many interim answers"),
        (FIRST[:-1], "ended 1 bytes too early"),
        (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nfirst", "two different lengths"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "not asked for"),
        (CHUNKED + b"five\r\nfirst", "without its size"),
        (CHUNKED + b"%x\r\nfirst" % 2**80, "without its size"),
        (CHUNKED + b"4\r\nfirst\r\n0\r\n\r\n", "of another size"),
        (CHUNKED + b"5\r\nfirst\r\n", "before an answer"),
        (CHUNKED + b"6\r\nfirst", "ended 1 bytes too early"),
    ],
)
def test_an_answer_that_is_broken_is_never_taken_for_a_whole_one(
    server: Server, answer: bytes, reason: str
) -> None:
    with pytest.raises(TemporaryError, match=reason):
        server.ask(answer, last=True)
    assert server.requests == 1


@pytest.mark.parametrize("line", [b"A:" + b" " * 60_000 + b"\rb", b"\n ".join([b"A:"] * 10_000)])
def test_every_head_is_read_quickly(server: Server, line: bytes) -> None:
    started = time.process_time()
    assert server.ask(OK + line + b"\r\nContent-Length: 5\r\n\r\nfirst") == b"first"
    assert time.process_time() - started < 1.0


def test_answers_without_a_body_end_with_their_headers(server: Server) -> None:
    assert server.ask(FIRST[:-5], method="HEAD") == b""
    assert server.ask(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n") == b""
    with pytest.raises(FetchError, match="204 No Content"):
        server.ask(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert server.ask(FIRST) == b"first"
    assert server.connections == 1


def test_a_connection_that_the_server_has_ended_meanwhile_costs_no_try(server: Server) -> None:
    assert server.ask(FIRST) == b"first"
    # It takes the request, and ends the connection without a word.
    assert server.ask(b"", FIRST, last=True) == b"first"
    assert (server.connections, server.requests) == (2, 3)


def test_what_a_server_says_unasked_is_no_answer(server: Server) -> None:
    assert server.ask(FIRST) == b"first"
    server.ask(FIRST + b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    assert server.ask(FIRST) == b"first"


@pytest.mark.parametrize("slowly", [OK, CHUNKED + b"5;"])
def test_a_server_cannot_keep_an_import_waiting_with_one_byte_after_the_other(
    server: Server, monkeypatch: pytest.MonkeyPatch, slowly: bytes
) -> None:
    monkeypatch.setattr(messages, "HEAD_SECONDS", 0.05)
    server.trickle = True
    with pytest.raises(TemporaryError, match="too slowly"):
        server.ask(slowly)
