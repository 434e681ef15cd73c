"""Content that has expired: it is stored for another period, without a transfer, if its source says
that nothing has changed."""

from __future__ import annotations

import dataclasses
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest

from beakercache import cache
from tasks.files.content import content_of, read_file
from tasks.files.index import file_row
from tasks.importing.index import version_of
from tasks.models import ImportedFile
from tests.tasks.importing.test_command import folder_of_region, wait_for
from tests.tasks.importing.test_http import LARGE, failures, origin
from tests.tasks.importing.test_import import contents, import_data
from tests.tasks.origin import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tasks.origin import Origin

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["origin"]

DAY = 24 * 60 * 60.0


def stored_at() -> list[float]:
    found = [read_file.peek_stale(*version_of(row)) for row in ImportedFile.objects.all()]
    return [content.stored_at for content in found if content is not None]


@pytest.fixture
def expire(monkeypatch: pytest.MonkeyPatch) -> None:
    """All content that is stored expires at once, and may be served for a month."""
    policy = dataclasses.replace(read_file.policy, expire=1e-9, grace=30 * DAY)
    monkeypatch.setattr(read_file, "_policy", policy)


@pytest.mark.parametrize("tag", ['"one"', 'W/"one"', None])
@pytest.mark.usefixtures("expire")
def test_a_url_is_not_sent_again(origin: Origin, tag: str | None) -> None:
    origin.tags["a.txt"] = tag
    import_data(origin.url("a.txt"))
    before = stored_at()
    assert import_data(origin.url("a.txt")).startswith("0 imported, 1 unchanged, 0 failed; 0 byt")
    assert {request.status for request in origin.asked("a.txt")[1:]} == {304}
    assert stored_at() > before
    assert contents() == {"a.txt": b"first"}


@pytest.mark.usefixtures("expire")
def test_files_of_a_manifest_are_not_requested_again(origin: Origin) -> None:
    url = origin.manifest()
    import_data(url)
    asked = len(origin.asked("a.txt"))
    before = stored_at()
    assert import_data(url).startswith("0 imported, 3 unchanged, 0 failed; 0 bytes read")
    assert len(origin.asked("a.txt")) == asked
    assert min(stored_at()) > max(before)


@pytest.mark.usefixtures("expire")
def test_files_of_a_folder_and_of_an_archive_are_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(LARGE)
    with ZipFile(tmp_path / "b.zip", "w") as file:
        file.writestr("b", LARGE[::-1])
    for source in (tmp_path / "a", tmp_path / "b.zip"):
        import_data(source)
        before = stored_at()
        assert import_data(source).startswith("0 imported, 1 unchanged, 0 failed; 0 bytes read")
        assert max(stored_at()) > max(before)
    assert contents() == {"a": LARGE, "b": LARGE[::-1]}


@pytest.mark.usefixtures("expire")
def test_changed_and_damaged_content_is_read_again(origin: Origin) -> None:
    import_data(origin.url("a.txt"))
    for content in folder_of_region("content").rglob("*"):
        if content.is_file() and content.read_bytes() == b"first":
            status = content.stat()
            content.write_bytes(b"FIRST")  # as a failing disk does
            os.utime(content, ns=(status.st_atime_ns, status.st_mtime_ns))
    import_data(origin.url("a.txt"))
    assert contents() == {"a.txt": b"first"}
    origin.files["a.txt"] = b"second"
    assert import_data(origin.url("a.txt")).startswith("1 imported")
    assert contents() == {"a.txt": b"second"}


@pytest.mark.usefixtures("expire")
def test_force_reads_everything(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first")
    import_data(tmp_path)
    assert import_data(tmp_path, "--force").startswith("1 imported, 0 unchanged, 0 failed; 5 by")


@pytest.mark.usefixtures("expire")
def test_a_page_renews_content_too(origin: Origin) -> None:
    import_data(origin.url("a.txt"))
    row = file_row(ImportedFile.objects.get().pk)
    assert row is not None
    assert content_of(row).read_bytes() == b"first"
    assert [request.status for request in origin.asked("a.txt")] == [200, 304]


@pytest.mark.usefixtures("expire")
def test_content_that_a_page_renews_during_the_run_is_unchanged(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_data(origin.url("a.txt"))
    row = file_row(ImportedFile.objects.get().pk)
    assert row is not None
    gate, checked = threading.Event(), threading.Event()
    origin.fail("a.txt", Fault(gate=gate))
    check = read_file.stored_digest

    def stored_digest(*version: Any) -> str | None:
        digest = check(*version)
        checked.set()
        return digest

    with ThreadPoolExecutor() as threads:
        try:
            page = threads.submit(content_of, row)
            wait_for(lambda: len(origin.asked("a.txt")) == 2)
            monkeypatch.setattr(read_file, "stored_digest", stored_digest)
            said = threads.submit(import_data, origin.url("a.txt"))
            assert checked.wait(60)
            policy = dataclasses.replace(read_file.policy, expire=DAY)
            monkeypatch.setattr(read_file, "_policy", policy)
        finally:
            gate.set()
        assert page.result().read_bytes() == b"first"
        assert said.result().startswith("0 imported, 1 unchanged, 0 failed; 0 bytes read in")


@pytest.mark.usefixtures("expire")
def test_files_that_are_gone_are_counted_and_may_be_kept(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b"):
        (source / name).write_bytes(name.encode())
    import_data(source)
    (source / "a").unlink()
    with pytest.raises(AssertionError, match="note: 1 imported file is no longer in the source"):
        import_data(source)
    before = stored_at()
    assert "1 kept" in import_data(source, "--keep")
    assert min(stored_at()) > max(before)
    shutil.rmtree(source)
    assert "2 kept" in import_data(source, "--keep")
    assert "cannot be imported: No such file" in failures(str(source))[0]
    cache.invalidate_region("files")
    assert "a: is no longer in the source, and its content is lost" in failures(
        str(source), "--keep"
    )
