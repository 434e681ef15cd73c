"""The size limit of the files region: a run never loses what it has stored, and says what it
removes."""

from __future__ import annotations

import dataclasses
import json
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError

from beaker_regions.entries.entry import region_scope
from beaker_regions.stores.files.eviction import SizeLimit
from beaker_regions.stores.files.store import FileStore
from beaker_regions.stores.opening import open_store
from beakercache import cache
from tasks.importing import room
from tasks.models import ImportedFile
from tests.tasks.importing.test_command import run_apart
from tests.tasks.importing.test_http import failures, origin
from tests.tasks.importing.test_import import contents, import_data
from tests.tasks.importing.test_unpacking import is_stored, packed

if TYPE_CHECKING:
    from tests.tasks.origin import Origin

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["origin"]

LIMIT = 1_000_000
"""Bytes."""
SIZE = 60_000
"""Bytes of a file."""


@pytest.fixture(autouse=True)
def limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SizeLimit:
    """The files region in a folder of its own, with a limit."""
    region = cache["files"]
    options = dataclasses.replace(region.options, data_dir=tmp_path / "regions", secret=("own",))
    (tmp_path / "regions").mkdir()
    store = open_store(options)
    store.generation_store.cover(region_scope("files"))
    assert isinstance(store, FileStore)
    assert store.size_limit is not None
    store.size_limit.bytes = LIMIT
    monkeypatch.setattr(region, "store", store)
    return store.size_limit


def folder_of(path: Path, files: int) -> Path:
    path.mkdir()
    for number in range(files):
        (path / f"{path.name}{number}").write_bytes(os.urandom(SIZE))
    return path


def stored() -> int:
    return len([path for path in contents() if path])


def test_files_that_can_never_fit_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", 20)
    (said,) = failures(str(source))
    assert said == (
        "The files region cannot store more: the files have 1.1 MB, and its size_limit is 976.6 "
        "KB; set REGIONS_FILES_SIZE_LIMIT to more, or import less (--include, --exclude). "
        "Imported files are kept; run the command again for the rest."
    )
    assert not ImportedFile.objects.exists()


def test_a_run_ends_before_it_evicts_its_own_files(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest has no sizes."""
    monkeypatch.setattr(room, "EVERY", 0)
    origin.files = {f"{number}": os.urandom(SIZE) for number in range(20)}
    said = failures(origin.manifest(), "--jobs=1")
    assert "reach its size_limit, 976.6 KB" in said[-1]
    rows = ImportedFile.objects.count()
    assert 15 <= rows < 20
    for path in list(origin.files):
        origin.files.pop(path)  # the content is read from the region
    assert stored() == rows


def test_one_file_above_the_limit_is_not_reported_as_imported(origin: Origin) -> None:
    origin.files = {"a": os.urandom(2 * LIMIT)}
    assert "reach its size_limit" in failures(origin.manifest())[-1]


def test_files_of_former_runs_are_evicted_and_reported(tmp_path: Path, limit: SizeLimit) -> None:
    import_data(folder_of(tmp_path / "a", 12))
    for folder, _, names in os.walk(limit._store.folder / "entries"):
        for name in names:
            os.utime(Path(folder) / name, (1, 1))  # used long ago
    new = folder_of(tmp_path / "b", 10)
    with pytest.raises(CommandError, match="removed from the files region to make r") as raised:
        import_data(new)
    assert 0 < limit.evictions <= 12
    assert str(raised.value).startswith(f"{limit.evictions} files and other entries that had not")
    # The new ones are all there.
    for file in new.iterdir():
        file.unlink()
    paths = ImportedFile.objects.filter(path__startswith="b")
    assert paths.count() == 10
    ImportedFile.objects.exclude(path__startswith="b").delete()
    assert stored() == 10


def test_the_environment_sets_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder_of(tmp_path / "a", 2)
    monkeypatch.setenv("REGIONS_FILES_SIZE_LIMIT", "100K")
    status, out, _ = run_apart(source, "--json", regions=tmp_path / "other")
    assert status == 1
    assert "its size_limit is 100.0 KB" in json.loads(out[0])["error"]


def test_an_archive_that_cannot_fit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.tar.gz", {"large": bytes(LIMIT)})
    with pytest.raises(CommandError, match="size_limit is 976"):
        import_data(archive)
    assert not is_stored(archive, "large", LIMIT)


def test_an_archive_that_turns_out_not_to_fit_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "EVERY", 0)
    files = {str(number): random.Random(number).randbytes(90_000) for number in range(20)}
    archive = packed(tmp_path / "a.tar.gz", files)
    with pytest.raises(CommandError, match="reach its size_limit"):
        import_data(archive, "--exclude=none")
    assert not any(is_stored(archive, name, len(each)) for name, each in files.items())
    assert contents() == {}
