"""The import from the operator's view: a process that shows progress, fails, and is killed."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from beaker_regions.stores.files.store import FileStore
from beakercache import cache
from tasks.files.content import content_of
from tasks.files.index import file_row
from tasks.models import ImportedFile

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parents[3]
PATIENCE = 180.0
"""Seconds that a run may take."""


def start(
    source: Path | str, *orders: str, regions: Path | None = None, **options: Any
) -> subprocess.Popen[str]:
    """Start the command on the database of this test, and its regions if it names no others."""
    base, _, _ = os.environ["DATABASE_URL"].rpartition("/")
    name = str(connection.settings_dict["NAME"]).rpartition("/")[2]
    environ = {**os.environ, "DATABASE_URL": f"{base}/{name}"}
    if regions is not None:
        environ["REGIONS_DATA_DIR"] = str(regions)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(
        [sys.executable, "manage.py", "import_data", str(source), *orders],
        cwd=ROOT,
        env=environ,
        text=True,
        **streams,
    )


def run(source: Path | str, *orders: str) -> tuple[int, list[str], list[str]]:
    """Run the command to its end, in this process; return exit status and lines of output and
    errors, as `manage.py` does."""
    out, err = io.StringIO(), io.StringIO()
    status = 0
    try:
        call_command("import_data", str(source), *orders, stdout=out, stderr=err)
    except CommandError as error:
        status = error.returncode
        err.write(f"CommandError: {error}\n")
    return status, out.getvalue().splitlines(), err.getvalue().splitlines()


def run_apart(source: Path | str, *orders: str, **options: Any) -> tuple[int, list[str], list[str]]:
    """As `run`, in a process of its own, to which ``options`` apply."""
    with start(source, *orders, **options) as process:
        out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out.splitlines(), err.splitlines()


def wait_for(happened: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < ends
        time.sleep(0.001)


def checked_rows() -> int:
    """Return the number of rows. Check each row's content: the files of these tests contain their
    own name and version."""
    rows = [file_row(pk) for pk in ImportedFile.objects.values_list("pk", flat=True)]
    for row in rows:
        assert row is not None
        content = content_of(row)
        assert (content.size, content.digest) == (row.size, row.digest)
        if row.size < 1 << 20:
            assert content.read_bytes() in {version(row.path, number) for number in (1, 2)}
    return len(rows)


def version(name: str, number: int) -> bytes:
    return f"{name} {'again ' * number}".encode()


def test_without_a_terminal_the_run_reports_in_lines(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1024))
    status, out, err = run(tmp_path)
    assert (status, err) == (0, [])
    assert out[0] == "1 file, 1.0 KB"
    assert re.fullmatch(r"1 imported, 0 unchanged, 0 failed; 1.0 KB read in \d+\.\d s", out[1])


@pytest.mark.parametrize("columns", [120, 0])
def test_on_a_terminal_the_run_shows_a_bar(tmp_path: Path, columns: int) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(bytes(1024))
    (source / "b\033[31m").symlink_to("gone")
    keyboard, terminal = pty.openpty()
    # No columns: a terminal that reports no size.
    termios.tcsetwinsize(terminal, (24, columns))
    with start(source, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        shown = b""
        while chunk := _read(keyboard):
            shown += chunk
    os.close(keyboard)
    assert process.returncode == 0
    text = shown.decode()
    assert re.search(
        r"100%\|█{5,}\| 2 of 2 files, 1\.0 KB of 1\.0 KB, [\d.]+ .?B/s, 00:00 left\r", text
    )
    # A name does not control the terminal.
    assert "\nb\\x1b[31m: No such file or directory" in text.replace("\r", "\n")
    assert "1 imported, 0 unchanged, 0 failed, 1 skipped" in text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # a terminal's error when the other side is closed
        return b""


def test_a_failure_is_one_line_and_an_exit_status(tmp_path: Path) -> None:
    status, _, err = run(tmp_path / "missing")
    assert status == 1
    assert err == [
        f"CommandError: '{tmp_path}/missing' cannot be imported: No such file or directory"
    ]


def test_a_full_disk_ends_the_run_and_keeps_the_imported_files(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(version(name, 1))
    assert run(tmp_path)[0] == 0
    for name in ("a", "c"):
        (tmp_path / name).write_bytes(version(name, 2))
    os.truncate(tmp_path / "b", 80 << 20)

    def fill() -> None:
        # As with a full disk, a write of the system fails half way.
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))

    status, out, err = run_apart(tmp_path, preexec_fn=fill)
    assert status == 1
    assert out[-1].startswith("1 imported, 0 unchanged, 0 failed; ")
    assert "File too large" in err[-2]
    assert err[-1].startswith("CommandError: The files region cannot store more")
    assert "Traceback" not in "".join(err)
    stored = {row.path: content_of(row).read_bytes() for pk in (1, 2, 3) if (row := _row(pk))}
    assert stored == {"a": version("a", 2), "b": version("b", 1), "c": version("c", 1)}
    # The next run imports the rest.
    status, out, _ = run(tmp_path)
    assert status == 0
    assert out[-1].startswith("2 imported, 1 unchanged, 0 failed; 80.0 MB read")


def _row(number: int) -> Any:
    return file_row(ImportedFile.objects.order_by("path")[number - 1].pk)


@pytest.mark.parametrize("stored", [pytest.param(1, marks=pytest.mark.slow), 50])
def test_after_a_killed_run_every_row_has_its_content_and_the_next_run_finishes(
    tmp_path: Path, stored: int
) -> None:
    """Half of the files were imported in a former version. Their rows must not name the new one."""
    names = [f"{number:04}" for number in range(100)]
    for name in names[::2]:
        (tmp_path / name).write_bytes(version(name, 1))
    assert run(tmp_path)[0] == 0
    for name in names:
        (tmp_path / name).write_bytes(version(name, 2))
    before = stored_files()
    with start(tmp_path) as process:
        wait_for(lambda: stored_files() >= before + stored or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    kept = stored_files() - before
    assert kept >= stored
    # The sources of the former versions are gone, so each row's content comes from the region.
    assert 50 <= checked_rows() <= 100
    status, out, _ = run(tmp_path)
    assert status == 0
    assert checked_rows() == 100
    assert all(content_of(row).read_bytes() == version(row.path, 2) for row in map(_row, (1, 100)))
    # Files that the killed run had stored are not read again, except the last one.
    read = re.search(r"failed; ([\d.]+) (bytes|KB) read", out[-1])
    assert read is not None
    size = float(read[1]) * (1024 if read[2] == "KB" else 1)
    assert size <= (100 - kept + 1) * len(version("0000", 2)) + 52  # for the rounding


def test_a_run_that_is_killed_during_a_file_leaves_no_row_and_no_content(tmp_path: Path) -> None:
    with open(tmp_path / "large", "wb") as file:
        file.truncate(256 << 20)
    before = stored_files()
    sweep()
    with start(tmp_path) as process:
        wait_for(lambda: is_within_a_large_file() or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    # Fewer if a sweep has removed files of other tests.
    assert stored_files() <= before
    assert checked_rows() == 0
    assert run(tmp_path)[0] == 0
    assert checked_rows() == 1


def test_an_interrupted_run_says_so_and_keeps_the_imported_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(version(name, 1))
    with open(tmp_path / "c-large", "wb") as file:
        file.truncate(256 << 20)
    sweep()
    with start(tmp_path) as process:
        wait_for(is_within_a_large_file)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert out.splitlines()[-1].startswith("2 imported, 0 unchanged, 0 failed; ")
    assert err.splitlines() == [
        "CommandError: Interrupted. Imported files are kept; run the command again for the rest."
    ]
    assert checked_rows() == 2


def test_a_large_file_needs_little_memory(tmp_path: Path) -> None:
    with open(tmp_path / "large", "wb") as file:
        file.truncate(256 << 20)

    def allow_little() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (120 << 20, 120 << 20))

    status, _, errors = run_apart(tmp_path, preexec_fn=allow_little)
    assert (status, errors) == (0, [])


def test_the_regions_own_files_in_the_source_are_not_imported(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(version("a", 1))
    regions = tmp_path / "var" / "regions"
    for _ in range(2):
        status, _, err = run_apart(tmp_path, regions=regions)
        assert list(ImportedFile.objects.values_list("path", flat=True)) == ["a"]
    assert status == 0
    assert err == [
        "var/regions/.metrics: is where the regions keep their entries",
        "var/regions/files: is where the regions keep their entries",
        "var/regions/functions: is where the regions keep their entries",
    ]
    status, _, err = run_apart(regions / "files" / "entries", regions=regions)
    assert (status, len(err)) == (1, 1)
    assert "is where the regions keep their entries" in err[0]


def test_two_simultaneous_runs_do_the_work_of_one(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number:04}").write_bytes(version(f"{number:04}", 1))
    with start(tmp_path) as one, start(tmp_path) as other:
        errors = [process.communicate(timeout=PATIENCE)[1] for process in (one, other)]
    assert (one.returncode, other.returncode, errors) == (0, 0, ["", ""])
    assert checked_rows() == 200


def folder_of_region(name: str) -> Path:
    """Return a folder of the files region, which may be empty."""
    store = cache["files"].store
    assert isinstance(store, FileStore)
    folder = store.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def arriving(size: int) -> list[Path]:
    """Return the incoming files of the region that have this many bytes."""
    found = []
    for file in folder_of_region("incoming").iterdir():
        # It may have been moved by now.
        with contextlib.suppress(FileNotFoundError):
            if file.stat().st_size >= size:
                found.append(file)
    return found


def is_within_a_large_file() -> bool:
    """Whether a running import has stored a part of a large file, but not all."""
    return bool(arriving(1 << 20))


def sweep() -> None:
    for left in folder_of_region("incoming").iterdir():
        left.unlink()


def stored_files() -> int:
    """Return the number of files in the region."""
    return sum(len(names) for _, _, names in os.walk(folder_of_region("entries")))
