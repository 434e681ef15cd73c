"""The import over HTTP by processes that are killed and that run at the same time; and expired
content that is read from its source again."""

from __future__ import annotations

import dataclasses
import json
import logging
import random
import resource
import signal
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError

from beakercache import cache
from tasks.files.content import ContentUnavailableError, content_of, read_file
from tasks.files.index import FileRow, file_row
from tasks.importing import importer
from tasks.models import ImportedFile
from tests.tasks.conftest import Browser, at_once
from tests.tasks.importing.test_command import (
    PATIENCE,
    arriving,
    folder_of_region,
    run,
    run_apart,
    start,
    sweep,
    wait_for,
)
from tests.tasks.importing.test_ending import summary_of
from tests.tasks.importing.test_http import LARGE, failures, origin
from tests.tasks.importing.test_import import contents, import_data, reported
from tests.tasks.origin import Fault, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["origin"]

HUGE = random.Random(2).randbytes(12 << 20)
HALF = len(HUGE) // 2
MOST = HALF - 8192
"""The least number of bytes of a half that are in the file; the rest may be in memory."""


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Servers wait for this event. It is set at the end of the test at the latest."""
    event = threading.Event()
    yield event
    event.set()


def arrived() -> list[Path]:
    """Return the incoming files of the region of which half has been received."""
    return arriving(MOST)


def break_off(origin: Origin, url: str, gate: threading.Event) -> None:
    """Kill a run when it has received half of the huge file."""
    origin.fail("huge", Fault(cut_after=HALF, gate=gate))
    with start(url) as process:
        wait_for(lambda: bool(arrived()) or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("by_manifest", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_killed_download_is_continued_by_the_next_run(
    origin: Origin, gate: threading.Event, by_manifest: bool
) -> None:
    sweep()
    origin.files = {"huge": HUGE}
    url = origin.manifest() if by_manifest else origin.url("huge")
    break_off(origin, url, gate)
    assert not ImportedFile.objects.exists()
    status, out, _ = run(url)
    assert (status, out[-1][:11]) == (0, "1 imported,")
    assert contents() == {"huge": HUGE}
    *others, last = origin.asked("huge")
    # Of one URL, the version is asked for first.
    assert [request.range for request in others] == [None] * (1 if by_manifest else 2)
    assert last.status == 206
    assert MOST <= len(HUGE) - last.sent <= HALF
    assert last.range == f"bytes={len(HUGE) - last.sent}-"
    if not by_manifest:
        assert last.headers["if-range"] == origin.tag_of("huge")
    assert not list(folder_of_region("incoming").iterdir())


def test_a_download_that_failed_is_continued_by_the_next_run(origin: Origin) -> None:
    origin.files = {"large": LARGE}
    url = origin.manifest()
    origin.fail("large", Fault(cut_after=300_000), Fault(status=404))
    assert failures(url)[0] == "large: 404 Not Found"
    import_data(url)
    assert origin.asked("large")[-1].range == "bytes=300000-"
    assert contents() == {"large": LARGE}


@pytest.mark.parametrize("by_manifest", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_killed_download_of_changed_content_is_not_continued(
    origin: Origin, gate: threading.Event, by_manifest: bool
) -> None:
    sweep()
    origin.files = {"huge": HUGE}
    url = origin.manifest() if by_manifest else origin.url("huge")
    break_off(origin, url, gate)
    origin.files = {"huge": HUGE[::-1]}
    if by_manifest:
        origin.manifest()
    assert run(url)[0] == 0
    assert contents() == {"huge": HUGE[::-1]}


def test_a_killed_download_that_was_altered_on_disk_starts_again(
    origin: Origin, gate: threading.Event
) -> None:
    sweep()
    origin.files = {"huge": HUGE}
    url = origin.manifest()
    break_off(origin, url, gate)
    (part,) = arrived()
    with open(part, "r+b") as file:
        file.write(b"altered")
    status, _, err = run(url)
    assert status == 3
    assert err[0].startswith("huge: has the SHA-256 ")
    assert run(url)[0] == 0
    assert contents() == {"huge": HUGE}


@pytest.mark.parametrize("jobs", [1, 3])
def test_each_job_fetches_one_file_at_a_time(
    origin: Origin, gate: threading.Event, jobs: int
) -> None:
    origin.files = {f"{number}": LARGE[number:] for number in range(10)}
    url = origin.manifest()
    for name in origin.files:
        origin.fail(name, *([] if name == "SHA256SUMS" else [Fault(gate=gate)]))
    with start(url, f"--jobs={jobs}") as process:
        wait_for(lambda: origin.at_once == jobs or process.poll() is not None)
        gate.set()
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert (origin.most_at_once, len(origin.requests)) == (jobs, 11)
    assert out.splitlines()[-1].startswith("10 imported, 0 unchanged, 0 failed; 9.5 MB read")
    assert contents() == {name: LARGE[int(name) :] for name in map(str, range(10))}


@pytest.mark.parametrize("jobs", [1, 3])
def test_processes_ask_for_each_small_file_once_and_never_for_too_many(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    monkeypatch.setattr(importer, "_MANY", 1)
    origin.files = {f"{number:02}": LARGE[number : number + 2000] for number in range(40)}
    origin.files["large"] = LARGE
    busy = Fault(status=503, headers={"Retry-After": "0"})
    url = origin.manifest()
    for name, fault in ("03", Fault(status=404)), ("05", busy), ("07", Fault(cut_after=500)):
        origin.fail(name, fault)
    assert "03: 404 Not Found" in failures(url, f"--jobs={jobs}")
    asked = {name: len(origin.asked(name)) for name in origin.files}
    assert {name: times for name, times in asked.items() if times > 1} == {"05": 2, "07": 2}
    assert origin.asked("07")[-1].range == "bytes=500-"
    assert origin.most_at_once <= jobs
    del origin.files["03"]
    assert {**contents(), "SHA256SUMS": origin.files["SHA256SUMS"]} == origin.files


@pytest.mark.parametrize("jobs", ["0", "-1", "65", "many"])
def test_an_invalid_number_of_jobs_is_refused(origin: Origin, jobs: str) -> None:
    with pytest.raises(CommandError, match="is not a number from 1 to 64"):
        import_data(origin.url("a.txt"), "--jobs", jobs)


def test_a_tar_is_read_by_one_job(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "a", "a")
    (note,) = reported(tmp_path / "a.tar", "--jobs=2")
    assert note == "note: such an archive is read by one job, whatever --jobs says"
    import_data(tmp_path / "a.tar", "--jobs=1")
    assert contents() == {"a": b"first"}


def test_an_interrupted_run_waits_for_no_server(origin: Origin, gate: threading.Event) -> None:
    origin.files |= {f"z{number}": LARGE for number in range(8)}
    url = origin.manifest()
    for number in range(8):
        origin.fail(f"z{number}", Fault(cut_after=100, gate=gate))
    with start(url, "--json") as process:
        wait_for(lambda: all(origin.asked(f"z{number}") for number in range(4)))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=45)
    assert process.returncode == 130
    assert "Traceback" not in err
    summary = json.loads(out)
    assert summary["error"].startswith("Interrupted. ")
    assert len(contents()) == summary["imported"] <= 3


def test_a_full_disk_ends_a_run_with_all_its_jobs(origin: Origin) -> None:
    origin.files = {f"{number}": HUGE for number in range(6)}

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))

    status, _, err = run_apart(origin.manifest(), preexec_fn=fill)
    assert status == 1
    assert err[-1].startswith("CommandError: The files region cannot store more: ")
    assert ": File too large. " in err[-1]
    assert "Traceback" not in "".join(err)
    assert not ImportedFile.objects.exists()


# -- content that is not stored any more ---------------------------------------------------------


def imported(url: str) -> FileRow:
    import_data(url)
    row = file_row(ImportedFile.objects.order_by("path")[0].pk)
    assert row is not None
    return row


def test_lost_content_is_fetched_once_for_all_callers_however_long_it_takes(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.files = {"large": LARGE}
    row = imported(origin.manifest())
    cache.invalidate_region("files")
    # The lease expires many times before the content has been received.
    monkeypatch.setattr(cache["files"], "lease", 0.25)
    origin.pace = 0.1
    found = at_once(*[lambda: content_of(row).read_bytes()] * 6)
    assert found == [LARGE] * 6
    # Once at the import, and once now; once more if this machine is too busy to keep a lease.
    assert len(origin.asked("large")) <= 3


@pytest.mark.parametrize("by_manifest", [True, False])
def test_content_that_changed_at_its_origin_is_unavailable(
    origin: Origin, by_manifest: bool
) -> None:
    row = imported(origin.manifest() if by_manifest else origin.url("a.txt"))
    cache.invalidate_region("files")
    origin.files["a.txt"] = b"other"
    why = "has the SHA-256" if by_manifest else "has changed at its origin; import it again"
    with pytest.raises(ContentUnavailableError, match=why):
        content_of(row)


def test_content_of_another_size_is_never_stored(origin: Origin) -> None:
    origin.tags["a.txt"] = '"the same"'
    row = imported(origin.url("a.txt"))
    cache.invalidate_region("files")
    origin.files["a.txt"] = b"longer than it was"
    with pytest.raises(ContentUnavailableError, match="is 18 bytes long, and should be 5"):
        content_of(row)
    origin.lengths = False
    with pytest.raises(ContentUnavailableError, match="is longer than the 5 bytes it should be"):
        content_of(row)


def test_content_that_ends_early_is_detected_by_the_former_size(origin: Origin) -> None:
    origin.files = {"large": LARGE}
    row = imported(origin.url("large"))
    cache.invalidate_region("files")
    origin.lengths = False
    origin.fail("large", Fault(cut_after=300_000))
    assert content_of(row).read_bytes() == LARGE
    assert origin.asked("large")[-1].range == "bytes=300000-"


def test_an_expired_copy_is_served_and_marked_while_its_origin_is_unavailable(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = origin.url("a.txt")
    row = imported(url)
    expired = dataclasses.replace(read_file.policy, expire=0.0)
    monkeypatch.setattr(read_file, "_policy", expired)
    origin.fail("a.txt", *[Fault(status=503)] * 20)
    with caplog.at_level(logging.WARNING, logger="beaker_regions"):
        assert content_of(row).read_bytes() == b"first"
    assert "tasks.files.content.read_file: TemporaryError('503" in caplog.text
    page = Browser().get(f"/files/{row.id}/")
    assert "This is the copy of" in page.text
    # For an import it is a failure, though.
    assert failures(url) == [f"{url!r} cannot be imported: 503 Service Unavailable"]
    origin.faults.clear()
    asked = len(origin.asked("a.txt"))

    def is_asked_again() -> bool:
        assert content_of(row).read_bytes() == b"first"
        return len(origin.asked("a.txt")) == asked + 1

    wait_for(is_asked_again)  # not at once, because it failed slowly
    monkeypatch.undo()
    assert "This is the copy of" not in Browser().get(f"/files/{row.id}/").text


@pytest.mark.parametrize(("tags", "ranges"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("in_manifest", [True, False])
def test_the_bytes_read_are_those_that_the_server_has_sent(
    origin: Origin, in_manifest: bool, tags: bool, ranges: bool
) -> None:
    """Also after a transfer that broke off, and continued or began again."""
    origin.files, origin.ranges = {"large": LARGE}, ranges
    if not tags:
        origin.tags["large"] = None
    url = origin.manifest() if in_manifest else origin.url("large")
    origin.fail("large", Fault(cut_after=300_000))
    status, summary = summary_of(url)
    sent = sum(request.sent for request in origin.asked("large"))
    assert (status, summary["bytes"], summary["imported_bytes"]) == (0, sent, len(LARGE))
    assert (sent > len(LARGE)) == (not ranges or not (tags or in_manifest))
