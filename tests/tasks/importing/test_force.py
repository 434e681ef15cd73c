"""--force: every file is read again, and what is stored stays until the new content has arrived."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError

from tasks.models import ImportedFile
from tests.tasks.importing.test_command import (
    is_within_a_large_file,
    run,
    start,
    sweep,
    wait_for,
)
from tests.tasks.importing.test_ending import summary_of
from tests.tasks.importing.test_http import origin
from tests.tasks.importing.test_import import contents, import_data
from tests.tasks.importing.test_unpacking import packed
from tests.tasks.origin import Fault, Origin

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["origin"]

LARGE = 128 << 20
"""Bytes."""


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=404),
        Fault(cut_after=2),
        Fault(replace=lambda body: body[::-1]),
        Fault(headers={"Content-Length": "2"}),
    ],
    ids=["gone", "cut", "altered", "short"],
)
def test_a_url_that_cannot_be_read_keeps_what_is_stored(origin: Origin, fault: Fault) -> None:
    url = origin.manifest()
    import_data(url)
    before = contents()
    origin.fail("a.txt", *[fault] * 9)
    status, summary = summary_of(url, "--force", "--retries=0")
    assert (status, summary["failed"], summary["imported"]) == (3, 1, 2)
    assert summary["failures"][0]["path"] == "a.txt"
    origin.files.clear()
    assert contents() == before


def test_a_local_file_with_another_digest_keeps_what_is_stored(tmp_path: Path) -> None:
    digest = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  a\n")
    (tmp_path / "a").write_bytes(b"first")
    import_data(tmp_path / "SHA256SUMS")
    (tmp_path / "a").write_bytes(b"fault")
    with pytest.raises(CommandError, match="a: has the SHA-256 "):
        import_data(tmp_path / "SHA256SUMS", "--force")
    assert contents() == {"a": b"first"}


def test_an_archive_that_is_cut_short_keeps_what_is_stored(tmp_path: Path) -> None:
    files = {name: os.urandom(200_000) for name in ("a", "b")}
    archive = packed(tmp_path / "a.tar", files)
    import_data(archive)
    before = archive.stat()
    with open(archive, "r+b") as file:  # as a failing disk does
        file.seek(300_000)
        file.write(bytes(before.st_size - 300_000))
    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))
    summary_of(archive, "--force")
    archive.unlink()
    assert contents()["a"] == files["a"]
    assert set(contents()) == {"a", "b"}


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL]
)
def test_a_run_that_ends_within_a_file_keeps_what_is_stored(
    tmp_path: Path, number: signal.Signals
) -> None:
    with open(tmp_path / "large", "wb") as file:
        file.truncate(LARGE)
    assert run(tmp_path)[0] == 0
    sweep()
    with start(tmp_path, "--force") as process:
        wait_for(lambda: is_within_a_large_file() or process.poll() is not None)
        process.send_signal(number)
        process.communicate()
    assert process.returncode in (130, -signal.SIGKILL)
    (tmp_path / "large").unlink()
    assert [len(content) for content in contents().values()] == [LARGE]
    assert ImportedFile.objects.count() == 1
