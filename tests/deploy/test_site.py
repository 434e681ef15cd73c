"""The deployed site, used like people use it."""

from __future__ import annotations

import http.client
import re
import secrets
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from tests.deploy.site import DEPLOY, Answer
from tests.deploy.visitors import Visitor

if TYPE_CHECKING:
    from tests.deploy.site import Nginx
    from tests.deploy.stack import Stack

PASSWORD = "correct-horse-battery"


def test_a_visitor_signs_up_adds_a_task_and_finds_it_again(nginx: Nginx) -> None:
    visitor, other = Visitor(nginx), Visitor(nginx)
    name = f"user-{secrets.token_hex(4)}"
    page = visitor.submit(
        "/accounts/signup/", username=name, password1=PASSWORD, password2=PASSWORD
    )
    assert page.status == 200
    assert name in page.text

    # The two servers answer in turn, and neither shows a stale page.
    for number in range(4):
        assert f"task {number}" in visitor.submit("/", name=f"task {number}").text
        assert f"task {number}" in visitor.get("/").text
    assert "task 0" not in other.get("/").text
    assert visitor.post("/", name="forged").status == 403

    assert "task 0" not in visitor.submit("/", "/accounts/logout/").text
    page = visitor.submit("/accounts/login/", username=name, password=PASSWORD)
    assert "task 0" in page.text
    assert "forged" not in page.text


def test_pages_have_security_headers(nginx: Nginx) -> None:
    page = Answer(nginx, "/")
    assert page.status == 200
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src")
    assert "max-age=31536000" in page.headers["Strict-Transport-Security"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["X-Frame-Options"] == "DENY"
    assert "no-store" in page.headers["Cache-Control"]
    # The size of a compressed page must not tell what the request has in common with a secret.
    compressed = [Answer(nginx, "/", Accept_Encoding="gzip") for _ in range(20)]
    assert {answer.headers["Content-Encoding"] for answer in compressed} == {"gzip"}
    assert max(len(answer.body) for answer in compressed) > min(
        len(answer.body) for answer in compressed
    )


def test_nginx_sends_static_files_compressed_and_immutable(nginx: Nginx) -> None:
    found = re.search(rb'href="(/static/tasks/app\.[0-9a-f]{12}\.css)"', Answer(nginx, "/").body)
    assert found is not None
    path = found[1].decode()
    plain, packed = Answer(nginx, path), Answer(nginx, path, Accept_Encoding="gzip")
    for answer in (plain, packed):
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/css; charset=utf-8"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.body) < len(plain.body)
    unhashed = Answer(nginx, "/static/tasks/app.css")
    assert (unhashed.status, unhashed.headers["Cache-Control"]) == (200, "public, max-age=60")


def test_a_request_without_tls_is_redirected_to_it(nginx: Nginx) -> None:
    connection = http.client.HTTPConnection("localhost", nginx.port, timeout=60)
    connection.request("GET", "/files/?q=a", headers={"Host": "localhost"})
    answer = connection.getresponse()
    connection.close()
    assert answer.status == 301
    assert answer.headers["Location"] == "https://localhost/files/?q=a"


def test_forwarded_headers_of_a_client_are_ignored(nginx: Nginx) -> None:
    assert Answer(nginx, "/", Host="evil.invalid").status == 421  # a name of no site here
    # Otherwise each guess would come from another address. A guess does not count if memcached is
    # too slow.
    for number in range(40):
        visitor = Visitor(nginx)
        visitor.headers["X-Forwarded-For"] = f"192.0.2.{number}"
        if visitor.submit("/accounts/login/", username="user", password="").status == 429:
            break
    else:
        raise AssertionError("nobody was kept out")


def test_a_body_larger_than_any_form_is_refused(nginx: Nginx) -> None:
    assert Visitor(nginx).post("/", name="x" * 1024 * 1024).status == 413


@pytest.mark.parametrize(
    ("program", "number"),
    [
        ("gunicorn", signal.SIGTERM),
        pytest.param("uwsgi", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("uwsgi", signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_visitors_do_not_notice_a_server_that_stops(
    stack: Stack, program: str, number: signal.Signals
) -> None:
    server = stack.application(program)
    ended = threading.Event()
    statuses = []

    def ask() -> None:
        while not ended.is_set():
            statuses.append(Answer(stack.nginx, "/accounts/login/").status)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    try:
        server.stop() if number == signal.SIGTERM else server.kill()
        after = [Answer(stack.nginx, "/accounts/login/").status for _ in range(10)]
    finally:
        ended.set()
        for asker in askers:
            asker.join()
        server.start()
    assert set(statuses) == {200} == set(after)
    assert len(statuses) > len(askers)


@pytest.mark.parametrize("program", ["gunicorn", "uwsgi"])
def test_no_header_can_set_where_the_site_is_mounted(stack: Stack, program: str) -> None:
    connection = http.client.HTTPConnection(
        "127.0.0.1", stack.application(program).port, timeout=60
    )
    headers = {"Host": "localhost", "X-Forwarded-Proto": "https", "SCRIPT_NAME": "/evil"}
    connection.request("GET", "/evil/", headers=headers)
    assert connection.getresponse().status == 404
    connection.close()


@pytest.mark.parametrize("program", ["gunicorn", "uwsgi"])
def test_the_exit_status_of_health_tells_the_state(stack: Stack, program: str) -> None:
    server = stack.application(program)

    def health() -> int:
        command = [sys.executable, str(DEPLOY / "health.py")]
        return subprocess.run(command, env=server.environment, stderr=subprocess.DEVNULL).returncode

    assert health() == 0
    server.kill()
    try:
        assert health() == 1
    finally:
        server.start()
