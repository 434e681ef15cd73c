"""Answers in forms that HTTP/1.1 allows, and in forms that it does not, from a real socket."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tasks.sources.fetching import answers, client
from tasks.sources.fetching.access import Access
from tasks.sources.fetching.connections import use_access
from tasks.sources.fetching.errors import FetchError, TemporaryError

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
        self.trickle = b""
        """Is sent after an answer, again and again."""
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
                        accepted.sendall(self.trickle)
                        time.sleep(0.01)
                    if is_last:
                        return

    def ask(self, *answers: bytes, last: bool = False, method: str = "GET") -> bytes:
        """Return the content of the answer to a request."""
        self.answers += answers
        if last:
            self.last.update(answers)
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
        OK + b"X-Long: a\r\n folded\r\nContent-Length:\r\n 5\r\n\r\nfirst",
        b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nfirst",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + FIRST,
        CHUNKED + b"003 ;name=value\r\nfir\r\n2\r\nst\r\n0\r\nX-Trailer: 1\r\n\r\n",
        # Names that look like the beginning of another answer.
        OK + b"HTTP/1.1: 404 no\r\nContent-Length: 5\r\n\r\nfirst",
        CHUNKED + b"5\r\nfirst\r\n0\r\nHTTP/: x\r\n\r\n",
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
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nfirst",
        OK + b"Connection: Close\r\nContent-Length: 5\r\n\r\nfirst",
        # What follows the content is no answer to a request.
        FIRST + FIRST,
    ],
)
def test_a_connection_that_cannot_go_on_is_left(server: Server, answer: bytes) -> None:
    assert server.ask(answer, last=True) == b"first"
    assert server.ask(FIRST.replace(b"first", b"again")) == b"again"
    assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "Empty reply from server"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "before the end of the headers"),
        (OK + b"A: b\r\n", "before the end of the headers"),
        (b"220 mail.test\r\n\r\n", "HTTP/0.9 when not allowed"),
        (OK + b"A: 1\r\n" * 20_000, "Too many response headers"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, "Too large response headers"),
        (FIRST[:-1], "1 bytes missing"),
        (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nfirst", "Invalid Content-Length"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "Unsolicited Transfer-Encoding"),
        (CHUNKED + b"%x\r\nfirst" % 2**80, "chunk hex-length"),
        (CHUNKED + b"4\r\nfirst\r\n0\r\n\r\n", "Malformed encoding"),
        (CHUNKED + b"5\r\nfirst\r\n", "outstanding read data"),
        (CHUNKED + b"6\r\nfirst", "outstanding read data"),
    ],
)
def test_an_answer_that_is_broken_is_never_taken_for_a_whole_one(
    server: Server, answer: bytes, reason: str
) -> None:
    with pytest.raises(TemporaryError, match=f"^the connection broke.*{reason}"):
        server.ask(answer, last=True)
    assert server.requests == 1


@pytest.mark.parametrize(
    ("begun", "reason"),
    [(b"", "no whole answer"), (OK + b"A: b\r\n", "no whole answer"), (FIRST[:-1], "no byte")],
)
def test_a_server_that_says_nothing_more_is_given_up(
    server: Server, monkeypatch: pytest.MonkeyPatch, begun: bytes, reason: str
) -> None:
    monkeypatch.setattr(answers, "READ_SECONDS", 0.1)
    with pytest.raises(TemporaryError, match=reason):
        server.ask(begun)
    assert server.ask(FIRST) == b"first"
    assert server.connections == 2


@pytest.mark.parametrize(
    ("begun", "drop", "reason"),
    [
        (OK, b"x", "no whole answer"),
        (OK, b"x: y\r\n", "no whole answer"),
        (CHUNKED + b"5;", b"x", "no byte"),
    ],
)
def test_a_server_cannot_keep_an_import_waiting_with_one_byte_after_the_other(
    server: Server, monkeypatch: pytest.MonkeyPatch, begun: bytes, drop: bytes, reason: str
) -> None:
    monkeypatch.setattr(answers, "READ_SECONDS", 0.2)
    server.trickle = drop
    with pytest.raises(TemporaryError, match=reason):
        server.ask(begun)


def test_answers_without_a_body_end_with_their_headers(server: Server) -> None:
    assert server.ask(FIRST[:-5], method="HEAD") == b""
    assert server.ask(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n") == b""
    with pytest.raises(FetchError, match="204 No Content"):
        server.ask(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert server.ask(FIRST) == b"first"
    assert server.connections == 1


def test_a_connection_that_the_server_has_ended_costs_no_try(server: Server) -> None:
    assert server.ask(FIRST) == b"first"
    # It takes the request, and ends the connection without a word.
    assert server.ask(b"", FIRST, last=True) == b"first"
    assert (server.connections, server.requests) == (2, 3)


def test_bytes_that_a_server_sends_unasked_are_no_answer(server: Server) -> None:
    assert server.ask(FIRST) == b"first"
    server.ask(FIRST + b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    assert server.ask(FIRST) == b"first"


def test_only_a_part_of_a_large_answer_is_in_memory(server: Server) -> None:
    size = 64 * 1024 * 1024
    server.answers.append(OK + b"Content-Length: %d\r\n\r\n" % size + bytes(size))
    pieces = [len(piece) for piece in client.body(client.get(server.url, {}))]
    assert sum(pieces) == size
    assert max(pieces) < 1024 * 1024


def test_a_child_process_takes_no_connection_of_its_parent(server: Server) -> None:
    assert server.ask(FIRST) == b"first"
    server.answers.append(FIRST)
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            client.discard(client.get(server.url, {}))
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert server.ask(FIRST) == b"first"
    assert server.connections == 3
