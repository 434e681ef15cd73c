"""Imported files behind nginx, which sends their content (X-Accel-Redirect)."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import pytest

from tests.deploy.conftest import CONTENT
from tests.deploy.site import Answer

if TYPE_CHECKING:
    from email.message import Message

    from tests.deploy.site import Application, Nginx
    from tests.deploy.stack import Stack


def told_nginx(server: Application, where: str, **headers: str) -> tuple[Message, bytes]:
    """Return the application server's own answer, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    sent |= {"Host": "localhost", "X-Forwarded-Proto": "https"}
    connection.request("GET", where, headers=sent)
    answer = connection.getresponse()
    found = answer.headers, answer.read()
    connection.close()
    return found


def test_nginx_sends_the_file_with_the_headers_of_the_application(
    nginx: Nginx, stack: Stack, where: str
) -> None:
    answer = Answer(nginx, where)
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers["Server"].startswith("nginx")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename*=utf-8''"
        "gr%C3%BCn%20%26%20%3Cgelb%3E%20100%25%20%E2%80%9Cx%E2%80%9D.txt"
    )
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Cache-Control"] == "no-cache"

    direct, body = told_nginx(stack.application("gunicorn"), where)
    assert body == b"", "the application itself sends nothing"
    assert direct["X-Accel-Redirect"].startswith("/protected/content/")
    for name in direct:
        if name not in ("X-Accel-Redirect", "Content-Length", "Connection", "Server", "Date"):
            assert set(answer.headers.get_all(name, [])) == set(direct.get_all(name, [])), name
    assert "X-Accel-Redirect" not in answer.headers

    head = Answer(nginx, where, "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(CONTENT))


def test_nginx_answers_ranges_and_conditions_like_the_application(nginx: Nginx, where: str) -> None:
    head = Answer(nginx, where, "HEAD").headers
    tag, time = head["ETag"], head["Last-Modified"]
    for header in ({}, {"If_Range": tag}, {"If_Range": time}, {"If_Match": tag}):
        part = Answer(nginx, where, Range="bytes=8-15", **header)
        assert (part.status, part.body) == (206, b"0000001\n"), header
        assert part.headers["Content-Range"] == f"bytes 8-15/{len(CONTENT)}"
    assert Answer(nginx, where, Range="bytes=8-15", If_Range='"other"').body == CONTENT
    beyond = Answer(nginx, where, Range=f"bytes={len(CONTENT)}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")

    for same in ({"If_None_Match": tag}, {"If_Modified_Since": time}):
        answer = Answer(nginx, where, **same)
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", tag)
    assert Answer(nginx, where, If_None_Match='"other"', If_Modified_Since=time).status == 200
    assert Answer(nginx, where, If_Match='"other"').status == 412
    assert Answer(nginx, where, If_Unmodified_Since=time).body == CONTENT


def test_clients_cannot_request_content_from_nginx_directly(
    nginx: Nginx, stack: Stack, where: str
) -> None:
    place = told_nginx(stack.application("gunicorn"), where)[0]["X-Accel-Redirect"]
    for path in (place, "/protected/", "/protected/generations", "/protected/../protected/usage"):
        answer = Answer(nginx, path)
        assert answer.status == 404
        assert CONTENT[:8] not in answer.body


@pytest.mark.parametrize("program", ["gunicorn", "uwsgi"])
def test_the_application_itself_sends_the_requested_part(
    stack: Stack, where: str, program: str
) -> None:
    server = stack.application(program)
    tag = told_nginx(server, where)[0]["ETag"]
    _, part = told_nginx(server, where, Range="bytes=800-815", If_Match=tag)
    assert part == CONTENT[800:816]
