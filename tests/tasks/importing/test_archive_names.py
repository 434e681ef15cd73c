"""Names in archives: those that occur twice, and those of other systems."""

from __future__ import annotations

import subprocess
import tarfile
import warnings
import zipfile
from typing import TYPE_CHECKING, Literal

import pytest

from beakercache import cache
from tests.tasks.importing.test_archives import info, tar_of
from tests.tasks.importing.test_import import contents, import_data

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_last_of_two_files_of_one_name_counts(tmp_path: Path) -> None:
    texts = (b"first", b"other", b"the last")
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        warnings.simplefilter("ignore")
        for text in texts:
            file.writestr("in/a", text)
    (tmp_path / "b.tar").write_bytes(tar_of([(info("in/b"), text) for text in texts]))
    with tarfile.open(tmp_path / "b.tar") as unpacked:
        member = unpacked.extractfile("in/b")
        assert member is not None
        assert member.read() == b"the last", "as Python's own tarfile reads it"
    for name in ("a.zip", "b.tar"):
        import_data(tmp_path / name)
    assert contents() == {"in/a": b"the last", "in/b": b"the last"}
    # It is read again from the archive.
    cache.invalidate_region("files")
    assert contents() == {"in/a": b"the last", "in/b": b"the last"}


def test_names_of_other_systems_are_understood(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name, system in (("x/caf?", 3), ("y\\dos.txt", 0), ("z\\unix", 3)):
            member = zipfile.ZipInfo(name)
            member.filename, member.create_system = name, system
            file.writestr(member, "text")
    packed = (tmp_path / "a.zip").read_bytes()
    # As tools on Unix write it: in UTF-8, without the flag for it.
    packed = packed.replace(b"x/caf?", "x/fé?".encode())
    (tmp_path / "a.zip").write_bytes(packed)
    import_data(tmp_path / "a.zip")
    assert set(contents()) == {"x/fé?", "y/dos.txt", "z\\\\unix"}


def test_an_incremental_tar_with_sparse_files_has_the_names_that_tar_gives_it(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    (source / "in").mkdir(parents=True)
    (source / "in" / "a.txt").write_bytes(b"first")
    with (source / "sparse").open("wb") as file:
        file.seek(3_000_000)
        file.write(b"end")
    order = ("tar", "-C", source, "--sparse", "--format=gnu", "--label=weekly")
    incremental = f"--listed-incremental={tmp_path / 'snapshot'}"
    subprocess.run([*order, incremental, "-cf", tmp_path / "a.tar", "."], check=True)
    assert import_data(tmp_path / "a.tar").startswith("2 imported, 0 unchanged, 0 failed; ")
    assert contents() == {"in/a.txt": b"first", "sparse": bytes(3_000_000) + b"end"}


@pytest.mark.parametrize(
    ("suffix", "mode"), [(".tar", "w:gz"), (".tgz", "w"), (".zip", "w:bz2"), (".tar.xz", "w:gz")]
)
def test_the_first_bytes_of_an_archive_say_its_format(
    tmp_path: Path, suffix: str, mode: Literal["w", "w:gz", "w:bz2"]
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with tarfile.open(tmp_path / f"a{suffix}", mode) as file:
        file.add(tmp_path / "file", "BZh")
    assert import_data(tmp_path / f"a{suffix}").startswith("1 imported, 0 unchanged, 0 failed; ")
    assert contents() == {"BZh": b"content"}
