"""Requests that are begun and not ended keep nobody from their pages, without a proxy in front."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from project.gathering import BODY, IncomingRequest
from settings import base
from tests.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = 40
"""Requests that are begun: more than the server has threads."""
PATIENCE = 18.0
"""Seconds, less than `gathering.SECONDS`, for a page that is made in milliseconds."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    serving = Serving(tmp_path_factory.mktemp("serving"))
    serving.page("/")
    yield serving
    serving.kill()


def opened(server: Serving, sent: bytes) -> socket.socket:
    place = urlsplit(server.address)
    connection = socket.create_connection((place.hostname, place.port), timeout=PATIENCE)
    connection.sendall(sent)
    return connection


def answer(connection: socket.socket) -> bytes:
    """Return what the server sends until it closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received


FORM = b"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
BEGUN = {
    "nothing": b"",
    "a line": b"GET / HT",
    "a head": b"GET / HTTP/1.1\r\nHost: localhost\r\n",
    "a body": FORM
    + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nusername=",
    "parts": FORM + b"Content-Type: multipart/form-data; boundary=x\r\n"
    b"Content-Length: 1000\r\n\r\n--x\r\n",
    "chunks": FORM + b"Transfer-Encoding: chunked\r\n\r\n5\r\nuser",
    "an end in a chunk": FORM + b"Transfer-Encoding: chunked\r\n\r\nff\r\n0\r\n\r\n",
}
ENDED = {
    "an answer": b"GET /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "HTTP/1.0": b"GET /accounts/login/ HTTP/1.0\r\nHost: localhost\r\n\r\n",
    "a refusal": FORM + b"Content-Length: 9999999\r\n\r\n",
    "nonsense": b"GET\r\n\r\n",
}


@pytest.mark.parametrize("begun", (BEGUN | ENDED).values(), ids=BEGUN | ENDED)
def test_pages_answer_while_many_requests_are_half_sent_and_connections_not_ended(
    server: Serving, begun: bytes
) -> None:
    with contextlib.ExitStack() as connections:
        for _ in range(MANY):
            connections.enter_context(opened(server, begun))
        place = urlsplit(server.address)
        began = time.monotonic()
        for _ in range(3):
            assert place.hostname is not None
            client = http.client.HTTPConnection(place.hostname, place.port, timeout=PATIENCE)
            with contextlib.closing(client):
                client.request("GET", "/")
                assert client.getresponse().status == 200
        assert time.monotonic() - began < PATIENCE


def test_a_request_that_comes_slowly_is_answered(server: Serving) -> None:
    body = b"username=a&password=b"
    request = FORM + b"Content-Type: application/x-www-form-urlencoded\r\n"
    request += b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    with opened(server, b"") as connection:
        for start in range(0, len(request), 40):
            connection.sendall(request[start : start + 40])
            time.sleep(0.05)
        assert answer(connection).startswith(b"HTTP/1.1 403 "), "it has no token"


def test_requests_that_come_together_are_answered_in_turn(server: Serving) -> None:
    first = b"GET /files/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with opened(server, first * 2 + last) as connection:
        received = answer(connection)
    assert re.findall(rb"<title>(.*?)</title>", received) == [b"Files", b"Files", b"Log in"]


def test_who_waits_for_a_word_before_the_body_gets_it(server: Serving) -> None:
    head = FORM + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    with opened(server, head) as connection:
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"x")
        assert b"HTTP/1.1 403 " in answer(connection)


@pytest.mark.parametrize("length", [str(BODY + 1), "9" * 5000])
def test_a_body_that_is_too_large_is_refused_before_it_comes(server: Serving, length: str) -> None:
    with opened(server, FORM + f"Content-Length: {length}\r\n\r\n".encode()) as connection:
        assert answer(connection).startswith(b"HTTP/1.1 413 ")
    assert base.DATA_UPLOAD_MAX_MEMORY_SIZE == BODY


@pytest.mark.parametrize("coding", ["chunked", "identity\r\nContent-Length: 1", "gzip, chunked"])
def test_a_body_whose_length_is_not_said_is_refused(server: Serving, coding: str) -> None:
    with opened(server, FORM + f"Transfer-Encoding: {coding}\r\n\r\n".encode()) as connection:
        assert answer(connection).startswith(b"HTTP/1.1 411 ")


def test_the_answer_comes_whole_to_who_sends_on(server: Serving) -> None:
    request = b"GET /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with opened(server, request + b"x" * 200_000) as connection:
        time.sleep(0.3)
        assert answer(connection).rstrip().endswith(b"</html>")


APPLICATION = """
import pathlib
def application(environ, start_response):
    size = int(environ["QUERY_STRING"] or 2)
    start_response("200 OK", [("Content-Length", str(size))])
    if environ["PATH_INFO"] != "/file":
        return [b"x" * size]
    return environ["wsgi.file_wrapper"](open(pathlib.Path(__file__).with_name("file"), "rb"))
"""
LARGE = 8_000_000


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server of one process with few threads."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.py").write_text(APPLICATION)
    (folder / "file").write_bytes(b"x" * LARGE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    options = "--threads 2 --no-control-socket"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "small:application", "--bind", f"127.0.0.1:{port}"),
            *("--worker-class", "project.gathering.GatheringWorker", *options.split()),
            *("--pythonpath", str(folder)),
        ],
        cwd=Path(__file__).parent.parent,
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def asking(port: int, path: str, *, reads: int | None = None) -> socket.socket:
    connection = socket.socket()
    if reads is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, reads)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection


@pytest.mark.parametrize("path", [f"/?{LARGE}", f"/file?{LARGE}"])
def test_who_does_not_take_an_answer_keeps_no_thread_from_others(
    small_server: int, path: str
) -> None:
    with contextlib.ExitStack() as connections:
        for _ in range(3):
            connections.enter_context(asking(small_server, path, reads=1024))
        time.sleep(0.3)
        assert connections.enter_context(asking(small_server, "/")).recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("path", [f"/?{LARGE}", f"/file?{LARGE}"])
def test_a_large_answer_comes_whole(small_server: int, path: str) -> None:
    with asking(small_server, path, reads=8192) as connection:
        _, _, content = connection.recv(4096).partition(b"\r\n\r\n")
        size = len(content)
        while size < LARGE:
            size += len(connection.recv(1 << 20))
        assert size == LARGE


def test_the_server_ends_while_requests_are_half_sent(tmp_path: Path) -> None:
    server = Serving(tmp_path)
    try:
        server.page("/")
        with opened(server, BEGUN["a body"]):
            began = time.monotonic()
            server.interrupt()
            assert time.monotonic() - began < PATIENCE
        assert server.processes() == []
    finally:
        server.kill()


REQUESTS = st.builds(
    lambda length, body, case: (
        case(b"Content-Length: %d\r\n" % length if length else b"Accept: */*\r\n"),
        b"x" * length,
    ),
    st.integers(0, 300),
    st.none(),
    st.sampled_from([bytes.upper, bytes.lower, bytes]),
)


@given(REQUESTS, st.lists(st.integers(1, 50), min_size=1))
def test_a_request_is_whole_when_its_last_byte_has_come(
    request_: tuple[bytes, bytes], steps: list[int]
) -> None:
    header, body = request_
    sent = b"POST / HTTP/1.1\r\nHost: a\r\n" + header + b"\r\n" + body
    incoming, position = IncomingRequest(), 0
    while position < len(sent):
        assert not incoming.is_whole()
        step = steps[position % len(steps)]
        incoming.data += sent[position : position + step]
        position += step
    assert incoming.is_whole()
