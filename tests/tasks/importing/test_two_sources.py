"""Two sources that have files of the same names: neither replaces a file of the other unasked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError

from tasks.importing.index import IndexWriter, KnownRow
from tasks.models import ImportedFile
from tests.tasks.importing.test_http import failures, origin
from tests.tasks.importing.test_import import contents, import_data

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tasks.origin import Origin

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["origin"]


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return _folder(tmp_path / "one", **{"read.me": b"of one", "only": b"one"})


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return _folder(tmp_path / "other", **{"read.me": b"of other", "more": b"other"})


def _folder(folder: Path, **files: bytes) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("rehearsed", [[], ["--dry-run"]])
def test_a_name_of_another_source_is_refused(one: Path, other: Path, rehearsed: list[str]) -> None:
    import_data(one)
    before = ImportedFile.objects.get(path="read.me")
    assert failures(str(other), *rehearsed)[0] == (
        f"read.me: has the name of a file from {str(one)!r}; give --into FOLDER to keep both, or "
        "--replace to put this one in its place"
    )
    after = ImportedFile.objects.get(path="read.me")
    assert (after.pk, after.digest, after.source) == (before.pk, before.digest, before.source)
    more = {} if rehearsed else {"more": b"other"}
    assert contents() == {"read.me": b"of one", "only": b"one", **more}


def test_into_keeps_both(one: Path, other: Path) -> None:
    import_data(one)
    assert import_data(other, "--into=a/b/").startswith("2 imported, 0 unchanged")
    assert import_data(other, "--into=a/b").startswith("0 imported, 2 unchanged")
    assert contents() == {
        "read.me": b"of one",
        "only": b"one",
        "a/b/read.me": b"of other",
        "a/b/more": b"other",
    }


def test_replace_puts_the_other_file_into_the_row(one: Path, other: Path) -> None:
    import_data(one)
    before = ImportedFile.objects.get(path="read.me")
    assert import_data(other, "--replace").startswith("2 imported")
    after = ImportedFile.objects.get(path="read.me")
    assert (after.pk, after.root) == (before.pk, str(other))
    assert contents()["read.me"] == b"of other"
    # It belongs to the other source now.
    assert failures(str(one))[0].startswith(f"read.me: has the name of a file from {str(other)!r}")


def test_patterns_and_pruning_know_the_folder(one: Path, other: Path) -> None:
    import_data(one)
    import_data(one, "--into=copy", "--exclude=only")
    assert set(contents()) == {"read.me", "only", "copy/read.me"}
    (one / "read.me").unlink()
    assert "1 forgotten" in import_data(one, "--prune")
    assert set(contents()) == {"only", "copy/read.me"}
    assert "0 forgotten" in import_data(one, "--prune", "--into=copy", "--include=on*")
    assert "1 forgotten" in import_data(one, "--prune", "--into=copy", "--include=[or]*")
    assert set(contents()) == {"only", "copy/only"}


def test_the_same_file_belongs_to_the_source_that_was_imported_last(one: Path) -> None:
    import_data(one / "only")
    import_data(one)
    assert set(contents()) == {"only", "read.me"}


def test_a_url_knows_its_file_in_a_folder(origin: Origin) -> None:
    import_data(origin.url("a.txt"), "--into=web")
    assert import_data(origin.url("a.txt"), "--into=web").startswith("0 imported, 1 unchanged")
    assert [request.status for request in origin.asked("a.txt")] == [200, 304]
    assert contents() == {"web/a.txt": b"first"}


@pytest.mark.parametrize("folder", ["/a", "a//b", "..", "a/../b", ".", "a/./b", "", "a\0"])
def test_a_folder_that_no_path_can_have_is_refused(one: Path, folder: str) -> None:
    with pytest.raises(CommandError, match="is not a folder of the site"):
        import_data(one, f"--into={folder}")


def test_a_run_beside_this_one_is_not_overwritten(one: Path, other: Path) -> None:
    """The other run added the row after this one had asked for it."""
    import_data(one)
    (row,) = ImportedFile.objects.filter(path="read.me")
    (others,) = ImportedFile.objects.filter(path="read.me")
    others.root, others.source, others.digest = str(other), str(other / "read.me"), "0" * 64
    taken: list[KnownRow] = []
    writer = IndexWriter(lambda: None, lambda mine, change, theirs: taken.append(theirs))
    writer.add(others, "new")
    writer.flush()
    assert [each.root for each in taken] == [row.root]
    assert contents()["read.me"] == b"of one"
