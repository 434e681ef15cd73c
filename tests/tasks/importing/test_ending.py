"""The end of an import: exit status, what is skipped and what failed, and what counts."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from tasks.importing import index
from tasks.importing.index import IndexWriter
from tasks.models import ImportedFile
from tests.tasks.importing.test_command import PATIENCE, start, wait_for
from tests.tasks.importing.test_http import origin
from tests.tasks.importing.test_import import contents
from tests.tasks.origin import Fault, Origin

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["origin"]


def summary_of(source: Path | str, *options: str) -> tuple[int, dict[str, Any]]:
    """Return the exit status of a run in this process, and its JSON object."""
    out, status = io.StringIO(), 0
    try:
        call_command(
            "import_data", str(source), "--json", *options, stdout=out, stderr=io.StringIO()
        )
    except CommandError as error:
        status = error.returncode
    return status, json.loads(out.getvalue())


def test_an_entry_that_is_no_file_is_skipped_and_no_failure(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first")
    (tmp_path / "dangling").symlink_to("gone")
    (tmp_path / "out").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        status, summary = summary_of(tmp_path)
    assert status == 0
    assert (summary["imported"], summary["failed"], summary["skipped"]) == (1, 0, 4)
    assert summary["skips"] == [
        {"path": "dangling", "reason": "No such file or directory"},
        {"path": "out", "reason": "is a link out of the source"},
        {"path": "pipe", "reason": "is a pipe, not a file"},
        {"path": "socket", "reason": "is a socket, not a file"},
    ]


def test_a_partial_and_a_fatal_run_have_statuses_of_their_own(
    tmp_path: Path, origin: Origin
) -> None:
    url = origin.manifest()
    origin.fail("a.txt", Fault(status=404))
    status, summary = summary_of(url)
    assert (status, summary["failed"], summary["imported"]) == (3, 1, 2)
    assert summary["failures"] == [{"path": "a.txt", "reason": "404 Not Found"}]
    assert summary_of(url)[0] == 0
    status, summary = summary_of(tmp_path / "missing")
    assert (status, summary["failures"]) == (1, [])
    assert "No such file" in summary["error"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_with_its_summary(origin: Origin, number: signal.Signals) -> None:
    """The signal comes during a download, to the thread of the command, which this one is."""
    origin.files = {"a": b"first", "z": b"last"}
    url = origin.manifest()
    gate = threading.Event()
    origin.fail("z", Fault(gate=gate))

    def interrupt() -> None:
        wait_for(lambda: bool(origin.asked("z")))
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    threading.Thread(target=interrupt).start()
    try:
        status, summary = summary_of(url, "--jobs=2")
    finally:
        gate.set()
    assert status == 128 + number
    assert summary["error"].startswith(f"Ended by {number.name}. Imported files are kept")
    assert len(contents()) == summary["imported"]
    assert signal.getsignal(number) is before


@pytest.mark.slow
def test_the_process_ends_with_the_status_of_the_signal(origin: Origin) -> None:
    gate = threading.Event()
    origin.fail("a.txt", Fault(gate=gate))
    with start(origin.url("a.txt")) as process:
        wait_for(lambda: bool(origin.asked("a.txt")) or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
    gate.set()
    assert process.returncode == 143
    assert "Traceback" not in err


def test_output_that_nobody_reads_causes_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as pipe:
        process = start(tmp_path, stdout=pipe)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 141
    assert err.startswith("CommandError: Nobody reads the output. Imported files are kept")
    assert "Traceback" not in err
    assert "Exception" not in err


@pytest.mark.parametrize("written", [0, 2])
def test_rows_that_cannot_be_written_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    for number in range(9):
        (tmp_path / f"{number}").write_bytes(b"%d" % number)
    monkeypatch.setattr(index, "ROWS", 2)
    write, left = IndexWriter._write, [written]

    def fail(self: IndexWriter, rows: list[ImportedFile]) -> object:
        if not left[0]:
            raise OperationalError("attempt to write a readonly database")
        left[0] -= 1
        return write(self, rows)

    monkeypatch.setattr(IndexWriter, "_write", fail)
    status, summary = summary_of(tmp_path)
    assert (status, summary["imported"]) == (1, ImportedFile.objects.count())
    assert ImportedFile.objects.count() == 2 * written
    assert summary["seconds"] > 0
    assert "readonly database" in summary["error"]
    left[0] = -1
    summary_of(tmp_path)
    left[0] = written
    status, summary = summary_of(tmp_path, "--force")
    assert (status, summary["imported"], summary["changed"]) == (1, 2 * written, 2 * written)
