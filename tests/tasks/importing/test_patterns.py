"""Patterns that leave folders out, and the limit of what may be forgotten."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from django.core.management import CommandError
from django.utils import timezone

from beaker_regions.entries.records import GENERATION_SIZE
from beakercache import cache
from tasks.files.content import path_digest, read_file
from tasks.files.folders import placing
from tasks.importing import index
from tasks.importing.gone import GoneFiles
from tasks.importing.index import forget, version_of
from tasks.models import ImportedFile
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.mounts import Disk
from tests.tasks.importing.test_command import run_apart
from tests.tasks.importing.test_ending import summary_of
from tests.tasks.importing.test_import import contents, import_data, reported

pytestmark = pytest.mark.django_db(transaction=True)

PATHS = ("a.txt", "node_modules/x.js", "in/node_modules/deep/y.js", "in/b.txt", "in/c/d.txt")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for path in PATHS:
        (tmp_path / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / path).write_bytes(path.encode())
    return tmp_path / "source"


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        (["--exclude=node_modules"], {"a.txt", "in/b.txt", "in/c/d.txt"}),
        (["--exclude=node_modules/"], {"a.txt", "in/b.txt", "in/c/d.txt"}),
        (["--exclude=in/c"], set(PATHS) - {"in/c/d.txt"}),
        (["--exclude=in"], {"a.txt", "node_modules/x.js"}),
        (["--exclude=*.js", "--exclude=[ab].txt"], {"in/c/d.txt"}),
        (["--include=in/c", "--include=a.txt"], {"a.txt", "in/c/d.txt"}),
    ],
)
def test_a_pattern_that_matches_a_folder_matches_all_in_it(
    source: Path, options: list[str], paths: set[str]
) -> None:
    import_data(source, *options)
    assert set(contents()) == paths


def test_an_excluded_folder_is_not_read(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    scandir = os.scandir

    def scan(path: str) -> object:
        read.append(str(path))
        return scandir(path)

    monkeypatch.setattr("tasks.importing.folders.os.scandir", scan)
    import_data(source, "--exclude=node_modules")
    monkeypatch.undo()
    assert any(each.endswith("in/c") for each in read)
    assert not any("node_modules" in each for each in read)


def test_patterns_come_from_a_file_and_one_that_matched_nothing_is_said(
    source: Path, tmp_path: Path
) -> None:
    (tmp_path / "patterns").write_text("# comment\n\nnode_modules\n*.pyc\n")
    lines = reported(source, f"--exclude-from={tmp_path}/patterns", "--include=*.txt")
    assert lines == ["note: the pattern '*.pyc' matched nothing"]
    assert set(contents()) == {"a.txt", "in/b.txt", "in/c/d.txt"}
    with pytest.raises(CommandError, match=r"--exclude-from cannot be read: .*No such file"):
        import_data(source, "--exclude-from=missing")


def test_more_than_half_of_the_files_is_forgotten_only_when_that_is_allowed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "disk").mkdir(parents=True)
    for number in range(30):
        (source / ("disk" if number < 20 else ".") / f"{number}").write_bytes(b"%d" % number)
    import_data(source)
    (source / "disk").rename(tmp_path / "away")
    status, summary = summary_of(source, "--prune")
    assert status == 1
    assert summary["error"] == (
        "20 of 30 files would be forgotten, and none was; if no disk is away, and they are really "
        "gone, give --max-forget 20"
    )
    assert ImportedFile.objects.count() == 30
    assert summary_of(source, "--prune", "--max-forget=19")[0] == 1
    assert "20 forgotten" in import_data(source, "--prune", "--max-forget=20")
    assert ImportedFile.objects.count() == 10


@pytest.fixture
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source of 100 files that were imported, 15 of them in "in/disk" and 15 in "other"."""
    monkeypatch.setattr(index, "BATCH", 7)
    source = tmp_path / "source"
    for folder, files in ((".", 70), ("in/disk", 15), ("other", 15)):
        (source / folder).mkdir(parents=True, exist_ok=True)
        for number in range(files):
            (source / folder / f"{number}").write_bytes(f"{folder}{number}".encode())
    import_data(source)
    return source


def refused(source: Path, *options: str) -> str:
    status, summary = summary_of(source, "--prune", *options)
    assert status == 1
    assert ImportedFile.objects.count() == 100
    return str(summary["error"])


def test_the_files_of_a_folder_without_files_are_forgotten_only_when_that_is_allowed(
    disks: Path,
) -> None:
    for file in (disks / "in" / "disk").iterdir():
        file.unlink()
    (disks / "in" / "disk" / "lost+found").mkdir()
    shutil.rmtree(disks / "other")
    for number in range(5):
        (disks / f"{number}").unlink()
    expected = (
        "no file is left in 'in', 'other', and none of 35 files was forgotten; if no disk is away, "
        "and they are really gone, give --max-forget 35"
    )
    assert refused(disks) == expected
    assert refused(disks, "--dry-run") == expected
    assert "35 forgotten" in import_data(disks, "--prune", "--max-forget=35")


def test_folders_that_are_gone_or_have_other_files_are_forgotten(disks: Path) -> None:
    (disks / "in" / "a").write_bytes(b"a")
    shutil.rmtree(disks / "in" / "disk")
    for file in (disks / "other").iterdir():
        file.rename(f"{file}.new")
    assert import_data(disks, "--prune").startswith(
        "16 imported, 70 unchanged, 0 failed, 30 forgotten"
    )


def test_the_files_of_a_disk_that_is_not_mounted_are_not_forgotten(tmp_path: Path) -> None:
    """Nor are they if somebody has put a file into its folder since."""
    for number in range(30):
        (tmp_path / f"{number}").write_bytes(b"%d" % number)
    disk = tmp_path / "a disk"

    def import_with_disk() -> None:
        Disk(disk, 1 << 20)
        for number in range(3):
            (disk / f"{number}").write_bytes(b"on the disk %d" % number)
        status, _, err = run_apart(tmp_path, "--prune")
        assert (status, err) == (0, [])

    assert statuses([fork(import_with_disk)]) == [0]  # unmounted at its end
    assert ImportedFile.objects.count() == 33
    (disk / "stray").write_bytes(b"stray")
    import_data(tmp_path, "--prune", "--exclude=a disk")
    status, summary = summary_of(tmp_path, "--prune")
    assert status == 1
    assert summary["error"] == (
        f"'{disk}': a disk was mounted there when files were imported, and is not now; none of 3 "
        "files was forgotten; mount it, or, if they are really gone, give --max-forget 3"
    )
    assert ImportedFile.objects.count() == 34
    assert "3 forgotten" in import_data(tmp_path, "--prune", "--max-forget=3")
    (disk / "stray").unlink()
    assert "1 forgotten" in import_data(tmp_path, "--prune")


def test_prune_leaves_a_file_that_a_run_beside_it_has_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came after the first run had looked for files."""
    (tmp_path / "first").write_bytes(b"first")
    forget = GoneFiles.forget

    def forget_late(gone: GoneFiles, most: int | None) -> int:
        (tmp_path / "second").write_bytes(b"second")
        import_data(tmp_path)
        return forget(gone, most)

    monkeypatch.setattr(GoneFiles, "forget", forget_late)
    assert " 0 forgotten" in import_data(tmp_path, "--prune")
    assert contents() == {"first": b"first", "second": b"second"}


def test_prune_leaves_a_row_that_another_source_has_taken_over(disks: Path, tmp_path: Path) -> None:
    """While this run looks for files that are gone."""
    keys = list(ImportedFile.objects.filter(path__startswith="other/").values_list("pk", flat=True))
    ImportedFile.objects.filter(pk=keys[0]).update(root=str(tmp_path / "another"))
    forget(keys, str(disks), "")
    assert ImportedFile.objects.filter(path__startswith="other/").count() == 1


def changed(before: bytes, now: bytes) -> int:
    """Return the number of bytes that are not the same."""
    return sum(old != new for old, new in zip(before, now, strict=True))


def test_prune_and_force_invalidate_nothing_for_each_file(disks: Path) -> None:
    folder = cache["files"].store.folder
    assert folder is not None
    table = folder / "generations"
    gone = [version_of(row) for row in ImportedFile.objects.all()][:20]
    for source, _, _ in gone:
        Path(source).unlink()
    before = table.read_bytes()
    assert "20 forgotten" in import_data(disks, "--prune", "--max-forget=20")
    assert [read_file.peek_stale(*version) for version in gone] == [None] * 20
    # Each place in the table is also one of other files, once there are many.
    assert changed(before, table.read_bytes()) < 20 * GENERATION_SIZE
    before = table.read_bytes()
    assert import_data(disks, "--force").startswith("80 imported")
    assert changed(before, table.read_bytes()) < 20 * GENERATION_SIZE


@pytest.mark.slow
def test_a_large_index_takes_no_more_memory_than_a_small_one() -> None:
    paths = [f"{'long' * 500}/{number}" for number in range(20_000)]
    ImportedFile.objects.bulk_create(
        [
            ImportedFile(
                path=path,
                path_digest=path_digest(path),
                size=0,
                root="root",
                imported_at=timezone.now(),
                **placing(path),
            )
            for path in paths
        ],
        100,
    )
    Path("/proc/self/clear_refs").write_text("5")  # the most memory is that of now
    before = most_memory()
    assert sum(1 for _ in index.paths_from("root", "")) == len(paths)
    assert most_memory() - before < 10_000


def most_memory() -> int:
    """Return the most memory that this process has had, in KiB."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1])
