"""Imported files behind a real nginx that sends their content (X-Accel-Redirect)."""

from __future__ import annotations

import http.client
import os
import pwd
import re
from typing import TYPE_CHECKING

import pytest

from tests.servers import Server
from tests.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "grün & <gelb> 100% “x”.txt"
CONTENT = "".join(f"{number:07}\n" for number in range(10_000)).encode()

CONFIGURATION = """
daemon off;
{user}
pid {folder}/pid;
error_log {folder}/errors;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/proxied;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {application};
            proxy_set_header Host $host;
        }}
        location /protected/ {{
            internal;
            alias {content}/;
            sendfile on;
            # What the application says of the file, in place of what nginx would.
            etag off;
            if_modified_since off;
            add_header ETag $upstream_http_etag;
            add_header Last-Modified $upstream_http_last_modified;
            add_header Content-Security-Policy $upstream_http_content_security_policy;
            add_header X-Content-Type-Options $upstream_http_x_content_type_options;
        }}
    }}
}}
"""


class Nginx(Server):
    """An nginx before the application that runs on ``serving``."""

    def __init__(self, folder: Path, serving: Serving) -> None:
        super().__init__()
        folder.mkdir()
        self._file = folder / "configuration"
        self._file.write_text(
            CONFIGURATION.format(
                # Else it would read as somebody who may not look into the tests' folders.
                user=f"user {pwd.getpwuid(0).pw_name};" if os.getuid() == 0 else "",
                folder=folder,
                port=self.port,
                application=serving.address,
                content=f"{serving.environ['REGIONS_DATA_DIR']}/files",
            )
        )
        self._errors = folder / "errors"

    def command(self) -> list[str]:
        return ["nginx", "-e", str(self._errors), "-c", str(self._file)]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("serving")
    source = folder / "source"
    source.mkdir()
    (source / NAME).write_bytes(CONTENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("X_ACCEL_REDIRECT", "/protected/")
        server = Serving(folder)
    server.page("/")
    server.manage("import_data", str(source))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def nginx(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    server = Nginx(tmp_path_factory.mktemp("nginx") / "etc", serving)
    server.start()
    yield server
    server.stop()


class Answer:
    """What a server says to one request."""

    def __init__(self, port: int, path: str, method: str = "GET", **headers: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=sent)
        answer = connection.getresponse()
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read()
        connection.close()


@pytest.fixture(scope="module")
def where(nginx: Nginx) -> str:
    page = Answer(nginx.port, "/files/").body.decode()
    found = re.search(r'href="(/files/\d+/)"', page)
    assert found is not None
    return found[1] + "download/"


def test_nginx_sends_the_file_with_the_headers_of_the_application(
    nginx: Nginx, serving: Serving, where: str
) -> None:
    answer = Answer(nginx.port, where)
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

    direct = Answer(int(serving.address.rpartition(":")[2]), where)
    assert direct.body == b"", "the application itself sends nothing"
    assert direct.headers["X-Accel-Redirect"].startswith("/protected/content/")
    for name in ("ETag", "Last-Modified"):
        assert answer.headers.get_all(name) == [direct.headers[name]]
    assert "X-Accel-Redirect" not in answer.headers

    head = Answer(nginx.port, where, "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(CONTENT))


def test_parts_and_conditions_are_those_of_the_application(nginx: Nginx, where: str) -> None:
    head = Answer(nginx.port, where, "HEAD").headers
    tag, time = head["ETag"], head["Last-Modified"]
    for header in ({}, {"If_Range": tag}, {"If_Range": time}, {"If_Match": tag}):
        part = Answer(nginx.port, where, Range="bytes=8-15", **header)
        assert (part.status, part.body) == (206, b"0000001\n"), header
        assert part.headers["Content-Range"] == f"bytes 8-15/{len(CONTENT)}"
    assert Answer(nginx.port, where, Range="bytes=8-15", If_Range='"other"').body == CONTENT
    beyond = Answer(nginx.port, where, Range=f"bytes={len(CONTENT)}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")

    for same in ({"If_None_Match": tag}, {"If_Modified_Since": time}):
        answer = Answer(nginx.port, where, **same)
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", tag)
    assert Answer(nginx.port, where, If_None_Match='"other"', If_Modified_Since=time).status == 200
    assert Answer(nginx.port, where, If_Match='"other"').status == 412
    assert Answer(nginx.port, where, If_Unmodified_Since=time).body == CONTENT


def test_nobody_can_ask_nginx_itself_for_content(
    nginx: Nginx, serving: Serving, where: str
) -> None:
    place = Answer(int(serving.address.rpartition(":")[2]), where).headers["X-Accel-Redirect"]
    for path in (place, "/protected/", "/protected/generations", "/protected/../protected/usage"):
        answer = Answer(nginx.port, path)
        assert answer.status == 404
        assert CONTENT[:8] not in answer.body
