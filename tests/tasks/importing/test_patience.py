"""Servers that fail for a while or crawl, and a database that restarts during an import."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError

from tasks.importing import importer
from tasks.sources.fetching import client, trying
from tests.servers import MariaDB
from tests.tasks.importing.test_command import PATIENCE, ROOT
from tests.tasks.importing.test_http import failures, origin
from tests.tasks.importing.test_import import contents, import_data, reported
from tests.tasks.origin import Fault, Origin

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["origin"]

BUSY = {"Retry-After": "0"}


@pytest.mark.parametrize("processes", [False, True])
def test_each_retry_is_said(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, processes: bool
) -> None:
    if processes:
        monkeypatch.setattr(importer, "_MANY", 1)
    url = origin.manifest()
    origin.fail("a.txt", Fault(status=503, headers=BUSY), Fault(status=500, headers=BUSY))
    a = re.escape(origin.url("a.txt"))
    first, second = reported(url, "--retries=2")
    assert re.fullmatch(rf"{a}: 503 .*; another try in 0\.0 s \(1 of 2\)", first)
    assert re.fullmatch(rf"{a}: 500 .*; another try in 0\.0 s \(2 of 2\)", second)
    assert contents() == {"a.txt": b"first", "in/b.png": b"\x89PNG", "in/empty": b""}


def test_the_operator_chooses_how_often_a_request_is_repeated(origin: Origin) -> None:
    origin.fail("a.txt", Fault(status=503, headers=BUSY))
    assert failures(origin.url("a.txt"), "--retries=0") == [
        f"'{origin.url('a.txt')}' cannot be imported: 503 Service Unavailable"
    ]
    assert len(origin.asked("a.txt")) == 1
    with pytest.raises(CommandError, match="is not a number from 0"):
        import_data(origin.url("a.txt"), "--retries=-1")


def test_a_transfer_that_crawls_is_broken_off_and_continued(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "SLOW_SECONDS", 0.1)
    origin.files["large"] = content = random.Random(2).randbytes(1_000_000)
    url, origin.pace = origin.url("large"), 0.15
    said = failures(url, "--retries=0", "--min-speed=1G")
    assert said[0].startswith("large: sent ")
    assert said[0].endswith("which is too slow")
    origin.pace = 0.0
    assert import_data(url, "--min-speed=1").startswith("1 imported, 0 unchanged, 0 failed")
    assert contents() == {"large": content}
    assert origin.asked("large")[-1].range is not None


def test_a_server_that_breaks_off_after_each_byte_is_given_up(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "_FIRST_PAUSE", 0.01)
    origin.files = {"large": random.Random(2).randbytes(200_000)}
    url = origin.manifest()
    origin.fail("large", *(Fault(cut_after=1) for _ in range(9)))
    assert failures(url, "--retries=2")[-2].startswith("large: ")
    assert len(origin.asked("large")) == 3
    # What has arrived counts: each of these requests brings much more.
    origin.faults.clear()
    origin.fail("large", *(Fault(cut_after=70_000) for _ in range(2)))
    assert import_data(url, "--retries=1").startswith("1 imported, 0 unchanged, 0 failed")


@pytest.mark.slow
def test_a_database_that_restarts_is_waited_for(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3000):
        (source / f"{number}.txt").write_bytes(b"%d" % number)
    server = MariaDB(tmp_path / "data")
    server.start()
    try:
        client_of_it = ("mariadb", "--no-defaults", "--host=127.0.0.1", f"--port={server.port}")
        create = "--execute=CREATE DATABASE tasks CHARACTER SET utf8mb4"
        subprocess.run([*client_of_it, "--user=root", create], check=True)
        environ = {
            **os.environ,
            "DATABASE_URL": server.url,
            "REGIONS_DATA_DIR": str(tmp_path / "regions"),
        }

        def manage(*orders: str) -> subprocess.Popen[str]:
            return subprocess.Popen(
                [sys.executable, "manage.py", *orders],
                cwd=ROOT,
                env=environ,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )

        with manage("migrate", "--verbosity=0") as migrated:
            migrated.communicate(timeout=PATIENCE)
        with manage("import_data", str(source), "--bwlimit=1K") as run:
            assert run.stdout is not None
            assert run.stderr is not None
            assert run.stdout.readline().startswith("3000 files")
            server.stop()
            assert any("the database is away" in line for line in run.stderr)
            server.start()
            out, err = run.communicate(timeout=PATIENCE)
        others = re.sub(r".*(another try|the outbox cannot be read).*\n", "", err)
        assert (run.returncode, others) == (0, "")
        assert out.splitlines()[-1].startswith("3000 imported, 0 unchanged, 0 failed")
        server.stop()
        with manage("import_data", str(source)) as run:  # a run that begins while it is away
            assert run.stderr is not None
            assert any("the database is away" in line for line in run.stderr)
            server.start()
            out, _ = run.communicate(timeout=PATIENCE)
        assert out.splitlines()[-1].startswith("0 imported, 3000 unchanged, 0 failed")
    finally:
        server.stop()
