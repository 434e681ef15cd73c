"""Who may read and write what lies on disk."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from beaker_regions import CachedFile, ConfigurationError
from beaker_regions.stores.files import maintenance
from beaker_regions.stores.files.store import FileStore
from beaker_regions.stores.folder_identity import identity_of
from beaker_regions.telemetry import aggregate
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import make_manager

if TYPE_CHECKING:
    from beaker_regions import CacheManager


def manager(folder: Path) -> CacheManager:
    return make_manager(type="file", data_dir=folder, secret="of the tests", size_limit=10**9)


def value(number: int) -> bytes:
    return b"%d" % number * 100_000


@pytest.mark.parametrize(("umask", "for_group"), [(0o022, 0o050), (0o077, 0), (0o007, 0o070)])
def test_a_folder_is_closed_to_others_and_shared_with_its_group_as_the_umask_says(
    tmp_path: Path, umask: int, for_group: int
) -> None:
    def use() -> None:
        os.umask(umask)
        cached = manager(tmp_path / "regions").region("functions")(value)
        assert cached(1) == cached(1)
        cached.invalidate(1)
        assert stat.S_IMODE((tmp_path / "regions").stat().st_mode) == 0o700 | for_group
        for path in (tmp_path / "regions").rglob("*"):
            mode = path.stat().st_mode
            assert bool(mode & stat.S_IRGRP) == bool(for_group & stat.S_IRGRP), path
            assert bool(mode & stat.S_IWGRP) == bool(for_group & stat.S_IWGRP), path

    assert statuses([fork(use)]) == [0]


def test_a_folder_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(ConfigurationError, match=r"data_dir.*every user can write to it"):
        manager(tmp_path)
    tmp_path.chmod(0o755)
    manager(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused_unless_its_group_shares_it(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(ConfigurationError, match="belongs to the user"):
        manager(tmp_path)
    tmp_path.chmod(0o2770)
    manager(tmp_path)


@pytest.mark.parametrize("link", ["functions", "functions/entries", "functions/content"])
def test_no_link_is_followed_to_another_folder(tmp_path: Path, link: str) -> None:
    folder = tmp_path / "regions"
    (tmp_path / "elsewhere").mkdir()
    (folder / link).parent.mkdir(parents=True)
    (folder / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        manager(folder)["functions"]


@pytest.mark.parametrize("kind", ["entries", "content", "equal", "generations", "leases", "usage"])
def test_no_link_is_followed_to_another_file(tmp_path: Path, kind: str) -> None:
    cached = manager(tmp_path).region("functions")(value)
    cached(1)
    found = tmp_path / "functions" / kind
    path = found if found.is_file() else next(each for each in found.glob("*/*"))
    target = tmp_path / "of another"
    shutil.copyfile(path, target)
    path.unlink()
    before = target.read_bytes()
    path.symlink_to(target)

    def use() -> None:
        assert cached(1) == value(1)
        cached.invalidate(1)
        assert cached(1) == value(1)
        if kind == "equal":
            assert cached.peek(1) == value(1), "the content is stored, and not the link"

    assert statuses([fork(use)]) == [0]
    assert target.read_bytes() == before


def test_no_link_is_followed_when_a_region_is_checked(tmp_path: Path) -> None:
    managed = manager(tmp_path)
    assert managed.region("functions")(value)(1) == value(1)
    digest = hashlib.sha256(b"of another").hexdigest()
    (tmp_path / "of another").write_bytes(b"of another")
    link = tmp_path / "functions" / "equal" / digest[:2] / digest[2:]
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "of another")
    store = managed["functions"].store
    assert isinstance(store, FileStore)
    assert [*maintenance.verify(store)] == [(str(link), "it is a symbolic link")]
    assert not link.is_symlink()
    assert (tmp_path / "of another").exists()


def test_no_link_is_followed_to_a_folders_identity(tmp_path: Path) -> None:
    identity_of(tmp_path)
    (tmp_path / "identity").rename(tmp_path / "of another")
    (tmp_path / "identity").symlink_to(tmp_path / "of another")
    with pytest.raises(OSError, match="symbolic"):
        identity_of(tmp_path)


def test_a_closed_file_is_not_opened_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"content" * 10_000)
    found = manager(tmp_path / "regions").region("functions")(Path)(tmp_path / "source")
    assert isinstance(found, CachedFile)
    found.close()
    assert found.read_bytes() == b"content" * 10_000
    found.path.unlink()
    found.path.symlink_to(tmp_path / "source")
    with pytest.raises(OSError, match="symbolic"):
        found.open()


def test_the_first_process_makes_the_folder_of_the_counts(tmp_path: Path) -> None:
    """Of processes that start at once, one may ask for the lock before another has made it."""
    with aggregate.locked(tmp_path / ".metrics", fcntl.LOCK_EX):
        assert (tmp_path / ".metrics").is_dir()
    with (
        pytest.raises(FileNotFoundError),
        aggregate.locked(tmp_path / "gone" / ".metrics", fcntl.LOCK_EX),
    ):
        pass
