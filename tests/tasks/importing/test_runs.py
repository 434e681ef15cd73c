"""The record of past runs, the log file, what a run says, and its pace."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection

from tasks.importing import importer, runs
from tasks.importing.progress import Summary
from tasks.importing.texts import size_in
from tasks.importing.unreadable import reason
from tasks.models import ImportRun
from tests.tasks.conftest import MakeBrowser
from tests.tasks.importing.test_command import PATIENCE, ROOT, run, start, wait_for
from tests.tasks.importing.test_http import LARGE, origin
from tests.tasks.importing.test_import import contents
from tests.tasks.origin import Fault, Origin

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["origin"]


def shown(*options: str) -> list[str]:
    """Return the lines of the command that shows the runs."""
    out = io.StringIO()
    call_command("imports", *options, stdout=out)
    return out.getvalue().splitlines()


def last() -> dict[str, Any]:
    """Return the last run."""
    found: dict[str, Any] = json.loads(shown("--json")[0])[0]
    return found


def source_of(tmp_path: Path, **contents: bytes) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    for name, content in contents.items():
        (source / name).write_bytes(content)
    return source


def numbers(of: dict[str, Any]) -> list[int]:
    return [of[name] for name in ("new", "changed", "unchanged", "skipped", "failed", "bytes")]


def test_every_run_is_recorded_with_its_numbers(tmp_path: Path) -> None:
    assert shown() == ["Nothing was imported yet"]
    source = source_of(tmp_path, a=b"first", b=b"second")
    assert run(source)[0] == 0
    assert numbers(last()) == [2, 0, 0, 0, 0, 11]
    (source / "a").write_bytes(b"first, again")
    (source / "c").write_bytes(b"third")
    (source / "link").symlink_to("/")
    assert run(source)[0] == 0
    found = last()
    assert numbers(found) == [1, 1, 1, 1, 0, 17]
    assert (found["source"], found["status"], found["end"]) == (str(source), 0, "whole")
    assert run(source, "--into=in")[0] == 0
    assert run(source, "--dry-run")[0] == 0
    lines = shown()
    assert len(lines) == 4, "a rehearsal is not recorded"
    assert f"{source} into in" in lines[1]
    assert re.split(r"  +", lines[2])[3:] == ["1", "1", "1", "1", "0", "17 bytes", "whole"]
    assert len(shown("--limit=1")) == 2


def test_a_run_that_is_not_whole_is_recorded_with_its_error(origin: Origin, tmp_path: Path) -> None:
    origin.files = {"a": b"first", "b": b"other"}
    url = origin.manifest()
    origin.fail("b", Fault(status=404))
    assert run(url)[0] == 3
    found = last()
    assert (found["end"], found["status"], numbers(found)[4]) == ("partial", 3, 1)
    assert found["error"] == "1 of 2 files were not imported"
    assert run(tmp_path / "missing")[0] == 1
    found = last()
    assert (found["end"], found["source"]) == ("ended early", str(tmp_path / "missing"))
    assert "No such file or directory" in found["error"]


def test_no_secret_of_a_url_is_recorded(tmp_path: Path) -> None:
    for url in ("http://me:hushed@127.0.0.1:9/a", "http://127.0.0.1:9/a?token=hushed#hushed"):
        assert run(url, f"--log-file={tmp_path}/log")[0] == 1
    assert ImportRun.objects.count() == 2
    assert "hushed" not in shown("--json")[0]
    assert "hushed" not in (tmp_path / "log").read_text()


def test_a_run_that_is_under_way_and_one_that_was_killed_are_shown_as_such(
    origin: Origin, browser: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    origin.fail("a.txt", Fault(gate=gate))
    staff = browser(User.objects.create_superuser("staff"))
    with start(origin.url("a.txt")) as process:
        try:
            wait_for(lambda: bool(origin.asked("a.txt")) or process.poll() is not None)
            assert last()["end"] == "under way"
            assert "under way" in staff.get("/regions/").text
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert last()["end"] == "killed"
            page = staff.get("/regions/")
            assert origin.url("a.txt") in page.text
            assert re.search(r'class="text error">killed<', page.html)
        finally:
            process.kill()
            gate.set()
    monkeypatch.setattr(runs, "_host", lambda: "another")
    assert last()["end"] == "under way", "from another host nobody can see it"
    monkeypatch.setattr(runs, "_SILENCE", 0)
    assert last()["end"] == "killed"


def test_a_run_says_that_its_end_could_not_be_recorded(origin: Origin) -> None:
    gate = threading.Event()
    origin.fail("a.txt", Fault(gate=gate))
    with start(origin.url("a.txt")) as process, connection.cursor() as cursor:
        try:
            wait_for(lambda: bool(origin.asked("a.txt")) or process.poll() is not None)
            cursor.execute("ALTER TABLE tasks_importrun RENAME TO away")
            gate.set()
            out, err = process.communicate(timeout=PATIENCE)
        finally:
            cursor.execute("ALTER TABLE away RENAME TO tasks_importrun")
    assert "1 imported" in out
    assert "note: the database did not take the end of this run" in err
    assert last()["end"] == "killed"


@pytest.mark.skipif(connection.vendor != "mysql", reason="SQLite has no connections to lose")
def test_the_end_of_a_run_is_recorded_after_the_database_has_restarted() -> None:
    recorder = runs.Recorder("source", "")
    with contextlib.suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("KILL CONNECTION_ID()")
    recorder.end(Summary(), 0, "")
    assert last()["status"] == 0


@pytest.mark.skipif(connection.vendor != "mysql", reason="SQLite takes all letters")
def test_tables_that_do_not_take_all_letters_are_named_with_the_mend() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE narrow (path VARCHAR(9) CHARACTER SET latin1)")
        with pytest.raises(DatabaseError) as caught:
            cursor.execute("INSERT INTO narrow VALUES ('\u65e5')")
        cursor.execute("DROP TEMPORARY TABLE narrow")
    assert "CHARACTER SET utf8mb4" in reason(caught.value)


def test_old_records_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "KEPT", 2)
    source = source_of(tmp_path, a=b"")
    for into in "abc":
        run(source, f"--into={into}")
    assert [found["into"] for found in json.loads(shown("--json")[0])] == ["c", "b"]
    with pytest.raises(CommandError, match="'0' is not a number"):
        shown("--limit=0")


# -- what a run says ------------------------------------------------------------------------


def test_a_quiet_run_names_failures_only(tmp_path: Path) -> None:
    source = source_of(tmp_path, a=b"first")
    (source / "link").symlink_to("/")
    assert run(source, "-q", "--include=*", "--exclude=none") == (0, [], [])
    (source / "bad").mkdir()
    (source / "bad").chmod(0)
    (source / "large").write_bytes(b"")
    status, out, err = run(f"{source}/SHA256SUMS", "--quiet")
    assert (status, out, len(err)) == (1, [], 1)


def test_a_verbose_run_names_the_imported_files(tmp_path: Path) -> None:
    source = source_of(tmp_path, a=b"first")
    assert run(source, "-v2")[1][1:-1] == ["new a"]
    (source / "a").write_bytes(b"first, again")
    (source / "b\n").write_bytes(b"")
    assert run(source, "-v2")[1][1:-1] == ["changed a", "new b\\n"]
    assert run(source, "-v2")[1][1:-1] == []
    assert run(source, "-v3")[1][1:-1] == ["unchanged a", "unchanged b\\n"]


@pytest.mark.parametrize(("options", "names"), [(["-v"], 1), (["-vv"], 2), (["-v", "3"], 2)])
def test_verbose_needs_no_number(
    tmp_path: Path, options: list[str], names: int, capsys: pytest.CaptureFixture[str]
) -> None:
    from tasks.management.commands.import_data import Command

    source = source_of(tmp_path, a=b"first")
    assert run(source)[0] == 0
    (source / "b").write_bytes(b"second")
    Command().run_from_argv(["manage.py", "import_data", *options, str(source)])
    out = capsys.readouterr().out.splitlines()
    assert out[1:-1] == ["unchanged a", "new b"][-names:]


def test_the_log_file_has_what_every_run_did_with_its_time(tmp_path: Path) -> None:
    source = source_of(tmp_path, a=b"first")
    log = tmp_path / "log"
    assert run(source, "-q", f"--log-file={log}") == (0, [], [])
    (source / "link").symlink_to("/")
    assert run(source, f"--log-file={log}")[0] == 0
    (source / "a").unlink()
    (source / "link").unlink()
    assert run(source, f"--log-file={log}")[0] == 1
    lines = log.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} ", line) for line in lines)
    said = [line.partition(" ")[2] for line in lines]
    assert said[:2] == [f"import of {source}", "new a"]
    assert said[2].startswith("1 imported, ")
    assert said[3] == "exit status 0"
    assert said[5] == "link: is a link out of the source"
    assert "holds no files" in said[-1]
    assert said[-1].startswith("exit status 1: ")
    (line,) = run(source, f"--log-file={tmp_path}/no/log")[2]
    assert line.endswith("/no/log' cannot be written to: No such file or directory")


# -- the pace -------------------------------------------------------------------------------


@pytest.mark.parametrize("in_processes", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_all_jobs_together_keep_to_the_limit(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, in_processes: bool
) -> None:
    if in_processes:
        monkeypatch.setattr(importer, "_MANY", 2)
    origin.files = dict.fromkeys("abcd", LARGE[:150_000])
    url = origin.manifest()
    started = time.monotonic()
    assert run(url, "--bwlimit=500K", "--jobs=4")[0] == 0
    # 600,000 bytes, and the least time that they may take.
    assert time.monotonic() - started > 600_000 / (500 * 1024) - 0.1
    assert len(contents()) == 4


@pytest.mark.parametrize(
    ("text", "size"),
    [("500", 500), ("500K", 512_000), ("1.5m", 1_572_864), ("1GiB", 1 << 30), ("2kb", 2048)],
)
def test_rates_may_have_suffixes(text: str, size: int) -> None:
    assert size_in(text) == size


@pytest.mark.parametrize("number", ["-1", "x", "1.5", ""])
def test_a_wrong_number_of_files_is_refused(tmp_path: Path, number: str) -> None:
    with pytest.raises(CommandError, match="is no number of files, such as 100"):
        call_command("import_data", str(tmp_path), "--prune", f"--max-forget={number}")


@pytest.mark.parametrize("rate", ["0", "fast", "-1", "1X", ""])
def test_a_wrong_rate_is_refused(tmp_path: Path, rate: str) -> None:
    with pytest.raises(CommandError, match="is no number of bytes a second"):
        call_command("import_data", str(tmp_path), f"--bwlimit={rate}")


def test_without_tables_the_error_says_to_migrate(tmp_path: Path) -> None:
    apart = {"DATABASE_URL": f"sqlite:///{tmp_path}/empty", "REGIONS_DATA_DIR": str(tmp_path)}
    shown = subprocess.run(
        [sys.executable, "manage.py", "imports"],
        cwd=ROOT,
        env={**os.environ, **apart},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 1
    assert shown.stderr.startswith("CommandError: The index cannot be read: ")
    assert shown.stderr.endswith("run manage.py migrate\n")
