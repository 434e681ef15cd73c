"""Patterns that leave folders out, and the limit of what may be forgotten."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError

from tasks.models import ImportedFile
from tests.tasks.importing.test_ending import summary_of
from tests.tasks.importing.test_import import contents, import_data, reported

if TYPE_CHECKING:
    from pathlib import Path

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
