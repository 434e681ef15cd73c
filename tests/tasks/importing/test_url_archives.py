"""Archives at URLs, and names for files at URLs."""

from __future__ import annotations

import random
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError

from beakercache import cache
from tasks.files.content import ContentUnavailableError, content_of, read_file
from tasks.files.index import file_row
from tasks.models import ImportedFile
from tests.tasks.importing.test_archives import FILES, pack
from tests.tasks.importing.test_command import arriving, run, start, sweep, wait_for
from tests.tasks.importing.test_http import failures, origin
from tests.tasks.importing.test_import import contents, import_data
from tests.tasks.importing.test_renewing import expire
from tests.tasks.origin import Fault, Origin

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.files.index import FileRow

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["expire", "origin"]


def gets(origin: Origin, path: str) -> int:
    return sum(request.method == "GET" for request in origin.asked(path))


def row_of(path: str) -> FileRow:
    row = file_row(ImportedFile.objects.get(path=path).pk)
    assert row is not None
    return row


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_an_archive_at_a_url_is_unpacked_and_sent_once(
    origin: Origin, tmp_path: Path, suffix: str
) -> None:
    name = f"a.{suffix}"
    origin.files = {name: pack(tmp_path, suffix, FILES).read_bytes()}
    url = origin.url(name)
    assert import_data(url).startswith(f"{len(FILES)} imported, 0 unchanged, 0 failed; ")
    assert contents() == FILES
    assert import_data(url).startswith(f"0 imported, {len(FILES)} unchanged, 0 failed; 0 bytes")
    assert gets(origin, name) == 1
    origin.files[name] = pack(tmp_path, suffix, {"new": b"other"}).read_bytes()
    assert f"{len(FILES)} forgotten; 5 bytes read" in import_data(url, "--prune")
    assert contents() == {"new": b"other"}


def test_an_archive_at_a_url_may_be_kept_as_a_file(origin: Origin, tmp_path: Path) -> None:
    packed = pack(tmp_path, "zip", FILES).read_bytes()
    origin.files = {"a.zip": packed, "b.zip": packed}
    import_data(origin.url("a.zip"), "--as-file")
    import_data(origin.url("b.zip"), "--name=c.zip")
    assert contents() == {"a.zip": packed, "c.zip": packed}


def test_a_page_reads_lost_content_of_an_archive_at_a_url_again(
    origin: Origin, tmp_path: Path
) -> None:
    origin.files = {"a.tar.gz": pack(tmp_path, "tar.gz", FILES).read_bytes()}
    import_data(origin.url("a.tar.gz"))
    row = row_of(next(iter(FILES)))
    read_file.invalidate(row.source, row.size, row.version)
    assert content_of(row).read_bytes() == FILES[row.path]
    assert gets(origin, "a.tar.gz") == 1, "the archive itself was still stored"
    cache.invalidate_region("files")
    assert content_of(row).read_bytes() == FILES[row.path]
    assert gets(origin, "a.tar.gz") == 2
    cache.invalidate_region("files")
    origin.files = {"a.tar.gz": pack(tmp_path, "tar.gz", {row.path: b"other"}).read_bytes()}
    with pytest.raises(ContentUnavailableError, match="has changed at its origin"):
        content_of(row)


@pytest.mark.usefixtures("expire")
def test_expired_content_is_renewed_with_one_question(origin: Origin, tmp_path: Path) -> None:
    origin.files = {"a.zip": pack(tmp_path, "zip", FILES).read_bytes()}
    import_data(origin.url("a.zip"))
    before = len(origin.requests)
    line = import_data(origin.url("a.zip"))
    assert line.startswith(f"0 imported, {len(FILES)} unchanged, 0 failed; 0 bytes")
    assert len(origin.requests) == before + 1


@pytest.mark.slow
def test_an_archive_whose_transfer_was_killed_is_continued(origin: Origin, tmp_path: Path) -> None:
    sweep()
    packed = pack(tmp_path, "tar", {"large": random.Random(3).randbytes(12 << 20)}).read_bytes()
    origin.files = {"a.tar": packed}
    half, gate = len(packed) // 2, threading.Event()
    # The first request is for the version alone.
    origin.fail("a.tar", Fault(), Fault(cut_after=half, gate=gate))
    with start(origin.url("a.tar")) as process:
        wait_for(lambda: bool(arriving(half - 8192)) or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        gate.set()
    assert not ImportedFile.objects.exists()
    status, out, _ = run(origin.url("a.tar"))
    assert (status, out[0][:9], out[-1][:11]) == (0, "fetching ", "1 imported,")
    assert origin.asked("a.tar")[-1].status == 206
    assert set(contents()) == {"large"}


def test_a_server_that_answers_get_alone_is_asked_so(origin: Origin, tmp_path: Path) -> None:
    origin.heads = False
    origin.files = {"a.zip": pack(tmp_path, "zip", FILES).read_bytes()}
    import_data(origin.url("a.zip"))
    assert contents() == FILES


def test_a_damaged_or_missing_archive_at_a_url_is_an_error(origin: Origin) -> None:
    origin.files = {"a.zip": b"no archive"}
    assert "a.zip' cannot be imported: " in failures(origin.url("a.zip"))[0]
    assert "404" in failures(origin.url("b.zip"))[0]
    assert not ImportedFile.objects.exists()


# -- names ----------------------------------------------------------------------------------


def test_a_file_at_a_url_gets_the_name_that_the_operator_wants(
    origin: Origin, tmp_path: Path
) -> None:
    origin.files = {"": b"front", "get": b"first"}
    import_data(f"{origin.url('get')}?id=5", "--name=reports/five.txt")
    import_data(origin.url(""), "--name=index.html", "--into=site")
    assert contents() == {"reports/five.txt": b"first", "site/index.html": b"front"}
    line = import_data(f"{origin.url('get')}?id=5", "--name=reports/five.txt")
    assert line.startswith("0 imported, 1 unchanged")
    assert "--name is for the one file at a URL" in failures(str(tmp_path), "--name=a")[0]


@pytest.mark.parametrize("name", ["", "/a", "a/../b", "a//b", ".", "a/"])
def test_a_name_that_no_file_can_have_is_refused(origin: Origin, name: str) -> None:
    with pytest.raises(CommandError, match="is no name of a file"):
        import_data(origin.url("a.txt"), f"--name={name}")
