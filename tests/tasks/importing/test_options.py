"""The options of an import: a part of the source, a rehearsal, force, pruning."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError

from tasks.files.index import files_page
from tasks.models import ImportedFile
from tests.tasks.importing.test_command import run, run_apart
from tests.tasks.importing.test_import import contents, import_data

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "in" / "side").mkdir(parents=True)
    for path in ("a.txt", "b.png", "in/a.txt", "in/side/c.txt", "In"):
        (folder / path).write_bytes(path.encode())
    return folder


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        (["--include=*.txt"], {"a.txt", "in/a.txt", "in/side/c.txt"}),
        (["--include=in/*"], {"in/a.txt", "in/side/c.txt"}),
        (["--include=a.txt", "--include=*.png"], {"a.txt", "b.png"}),
        (["--exclude=in/*", "--exclude=*.png"], {"a.txt", "In"}),
        (["--include=*.txt", "--exclude=*/side/*"], {"a.txt", "in/a.txt"}),
        (["--include=?.[pt]*"], {"a.txt", "b.png"}),
    ],
)
def test_only_selected_files_are_imported(
    source: Path, options: list[str], paths: set[str]
) -> None:
    (source / "left-out").symlink_to("gone")
    import_data(source, *options, "--exclude=left-out")
    assert set(contents()) == paths


def test_unselected_names_are_not_reported(source: Path) -> None:
    (source / "b.link").symlink_to("gone")
    import_data(source, "--include=*.txt")
    with pytest.raises(CommandError, match="holds no files that are included"):
        import_data(source, "--include=*.pdf")


def test_a_dry_run_reports_the_actions_and_changes_nothing(source: Path) -> None:
    import_data(source)
    (source / "a.txt").write_bytes(b"second")
    (source / "new\n").write_bytes(b"new")
    (source / "b.png").unlink()
    before = contents()
    status, out, err = run(source, "--dry-run", "--prune")
    assert (status, err) == (0, [])
    assert out[1:-1] == ["would import a.txt", "would import new\\n", "would forget b.png"]
    assert out[-1].startswith(
        "rehearsed, nothing changed: 2 imported, 3 unchanged, 0 failed, 1 forgotten; 0 bytes read"
    )
    assert contents() == before
    assert import_data(source, "--prune").startswith("2 imported, 3 unchanged, 0 failed, 1 forg")


def test_force_reads_unchanged_files(source: Path) -> None:
    import_data(source)
    before = (source / "a.txt").stat()
    (source / "a.txt").write_bytes(b"other")
    os.utime(source / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert contents()["a.txt"] == b"a.txt"
    assert import_data(source, "--force").startswith("5 imported, 0 unchanged, 0 failed; 33 bytes")
    assert contents()["a.txt"] == b"other"


def test_prune_forgets_files_that_are_no_longer_in_the_source(source: Path) -> None:
    import_data(source)
    gone = {"a.txt": source / "a.txt", "in/side/c.txt": source / "in" / "side" / "c.txt"}
    before = gone["a.txt"].stat()
    for file in gone.values():
        file.unlink()
    assert len(files_page("", 1).rows) == 5
    assert import_data(source, "--prune").startswith(
        "0 imported, 3 unchanged, 0 failed, 2 forgotten"
    )
    assert {row.path for row in files_page("", 1).rows} == {"b.png", "in/a.txt", "In"}
    # Their content was removed too: a file that looks like the former one is read again.
    gone["a.txt"].write_bytes(b"other")
    os.utime(gone["a.txt"], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert import_data(source).startswith("1 imported, 3 unchanged, 0 failed; 5 bytes read")


def test_prune_keeps_files_of_other_sources_and_unselected_files(source: Path) -> None:
    other = source.parent / "other"
    (other / "deep").mkdir(parents=True)
    (other / "a.txt").write_bytes(b"other")
    (other / "deep" / "d.txt").write_bytes(b"deep")
    (source.parent / "source-beside").mkdir()
    (source.parent / "source-beside" / "e.txt").write_bytes(b"beside")
    import_data(other)
    import_data(other / "deep")
    import_data(source.parent / "source-beside")
    import_data(source, "--replace")
    for file in (other / "deep" / "d.txt", source / "b.png", source / "in" / "a.txt"):
        file.unlink()
    import_data(source, "--prune", "--include=in/*")
    assert "b.png" in contents()
    assert "in/a.txt" not in contents()
    import_data(source / "a.txt", "--prune")
    assert "b.png" in contents()
    # The row "d.txt" came from a folder in it, and describes the same content as "deep/d.txt".
    import_data(other, "--prune", "--replace")
    assert contents() == {
        "a.txt": b"other",
        "b.png": b"b.png",
        "d.txt": b"deep",
        "e.txt": b"beside",
        "in/side/c.txt": b"in/side/c.txt",
        "In": b"In",
    }


@pytest.mark.parametrize("options", [[], ["--include=*.txt"], ["--exclude=in/files"]])
def test_prune_keeps_files_of_a_skipped_folder(source: Path, options: list[str]) -> None:
    (source / "in" / "files").mkdir()
    (source / "in" / "files" / "d.txt").write_bytes(b"kept")
    import_data(source)
    (source / "in" / "a.txt").unlink()
    # From now on this is the folder of the run's regions, which is never part of a source.
    _, _, err = run_apart(source, "--prune", *options, regions=source / "in")
    said = "in/files: is where the regions keep their entries" in err
    assert said is ("--exclude=in/files" not in options)
    paths = set(ImportedFile.objects.values_list("path", flat=True))
    assert "in/files/d.txt" in paths
    assert "in/a.txt" not in paths


def test_the_summary_is_one_json_object_and_everything_else_goes_to_stderr(source: Path) -> None:
    (source / "b.link").symlink_to("gone")
    status, out, err = run(source, "--json", "--dry-run")
    assert status == 0
    (line,) = out
    summary = json.loads(line)
    assert summary.pop("seconds") >= 0
    assert summary == {
        "imported": 5,
        "changed": 0,
        "unchanged": 0,
        "failed": 0,
        "skipped": 1,
        "forgotten": 0,
        "kept": 0,
        "evicted": 0,
        "imported_bytes": 33,
        "bytes": 0,
        "dry_run": True,
        "error": None,
        "notes": [],
        "failures": [],
        "skips": [{"path": "b.link", "reason": "No such file or directory"}],
    }
    assert err[0] == "6 files, 33 bytes"
    assert "b.link: No such file or directory" in err
    assert "would import a.txt" in err
    assert not ImportedFile.objects.exists()
    assert json.loads(run(source, "--json")[1][0])["bytes"] == 33
