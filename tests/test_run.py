"""What ``make run`` does: prepare, serve, and say in one line why it cannot."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers import free_port
from tests.serving import PATIENCE, ROOT, Serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    server = Serving(tmp_path)
    yield server
    server.kill()


def test_it_serves_the_task_list_and_leaves_nothing_running(serving: Serving) -> None:
    page, _ = serving.page("/")
    assert "Nothing to do yet" in page
    style = re.search(r'href="(/static/tasks/app\.[0-9a-f]{12}\.css)"', page)
    assert style is not None, "static files are named by their content"
    _, headers = serving.page(style[1])
    assert "immutable" in headers["Cache-Control"]
    assert len(serving.processes()) >= 3, "one that watches, two or more that serve"
    with contextlib.closing(sqlite3.connect(serving.database)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    head = urllib.request.Request(f"{serving.address}/", method="HEAD")
    with urllib.request.urlopen(head) as answer:
        assert int(answer.headers["Content-Length"]) > 1000
    printed = serving.interrupt()
    assert printed == f"The task list is at {serving.address}/ (Ctrl-C stops it)\n"
    assert serving.process.returncode == 0
    assert serving.processes() == []


def test_a_page_that_is_not_there_says_so_without_debugging(serving: Serving) -> None:
    serving.page("/")
    # Nobody may say where the site is mounted: each link would lead there.
    elsewhere = urllib.request.Request(
        f"{serving.address}/no-such-page/", headers={"SCRIPT_NAME": "/no-such-page"}
    )
    with pytest.raises(urllib.request.HTTPError) as refused:
        urllib.request.urlopen(elsewhere)
    with refused.value as answer:
        page = answer.read().decode()
    assert answer.status == 404
    assert "Not found" in page
    assert "urlpatterns" not in page


def serve(port: object, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/serve.py", str(port)],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = serve(port)
    assert done.returncode == 1
    assert done.stderr == f"Port {port} is in use; choose another: make run PORT={port + 1}\n"


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1", ""])
def test_what_is_no_port_is_one_line(port: str) -> None:
    done = serve(port)
    assert done.returncode == 1
    assert re.fullmatch(rf"PORT={re.escape(port)} is not the number of a port.*\n", done.stderr)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"DATABASE_URL": "oracle://host/tasks"}, "DATABASE_URL"),
        ({"DATABASE_URL": "sqlite:////dev/null/tasks.sqlite3"}, "unable to open database file"),
        ({"MEMCACHED_SERVERS": "host:port:rest"}, "host:port:rest"),
        ({"REGIONS_DATA_DIR": "/dev/null/regions"}, "/dev/null/regions"),
    ],
)
def test_what_is_configured_wrongly_is_one_line(environ: dict[str, str], said: str) -> None:
    done = serve(free_port(), DJANGO_SETTINGS_MODULE="settings.development", **environ)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


# -- installing -------------------------------------------------------------------------------


def install(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Run the installation with a ``python3`` that does what ``python`` says, and no other."""
    programs = folder / "bin"
    (folder / "scripts").mkdir()
    programs.mkdir()
    shutil.copy(ROOT / "scripts/install.sh", folder / "scripts")
    for program in ("sh", "dirname"):
        found = shutil.which(program)
        assert found is not None
        (programs / program).symlink_to(found)
    (programs / "python3").write_text(f"#!/bin/sh\n{python}\n")
    (programs / "python3").chmod(0o755)
    return subprocess.run(
        ["scripts/install.sh"],
        cwd=folder,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
    )


def test_a_python_that_is_too_old_is_one_line(tmp_path: Path) -> None:
    done = install(tmp_path, '[ "$1" = -V ] && echo Python 3.9.2 || exit 1')
    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.11 or newer is needed; python3 is Python 3.9.2.")
    assert done.stderr.count("\n") == 1


def test_a_python_without_venv_is_one_line(tmp_path: Path) -> None:
    done = install(tmp_path, 'case "$2" in *venv*) exit 1 ;; esac')
    assert done.returncode == 1
    assert done.stderr == ("python3 has no venv module. Install it: apt-get install python3-venv\n")
