"""Tars are read once: their files are stored while they are listed. A list is kept, so that an
archive that has not changed is not read again."""

from __future__ import annotations

import gzip
import os
import random
import tarfile
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError

from tasks.files.content import read_file
from tasks.importing import listings
from tasks.importing.importer import Importer
from tasks.importing.locating import source_at
from tasks.models import ImportedFile
from tasks.sources.archives import limits
from tests.tasks.importing.test_archives import NOISE, complaints, info, pack, plain, tar_of
from tests.tasks.importing.test_command import folder_of_region
from tests.tasks.importing.test_import import Meddler, contents, import_data
from tests.tasks.importing.test_renewing import expire, stored_at

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["expire"]

LARGER = {f"{number}": random.Random(number).randbytes(60_000) for number in range(9)}


def packed(path: Path, files: dict[str, bytes]) -> Path:
    path.write_bytes(gzip.compress(tar_of(plain(files))))
    return path


def spoil(path: Path) -> None:
    """Make the end of an archive unreadable, and let it look as before."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(status.st_size // 2)
        file.write(bytes(status.st_size // 2))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def is_stored(archive: Path, path: str, size: int) -> bool:
    status = archive.stat()
    version = f"{status.st_mtime_ns}/{status.st_size}"
    return read_file.peek(f"{archive}//{path}", size, version) is not None


def test_an_archive_that_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.tar.gz", LARGER)
    import_data(archive)
    spoil(archive)
    assert import_data(archive).startswith("0 imported, 9 unchanged, 0 failed; 0 bytes read")
    # Nor for another folder of the site, or for some of its files.
    assert import_data(archive, "--into=b").startswith("9 imported, 0 unchanged, 0 failed; 0 byt")
    assert import_data(archive, "--include=4*").startswith("0 imported, 1 unchanged")


@pytest.mark.usefixtures("expire")
def test_expired_files_of_an_archive_are_renewed_without_reading_it(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.tar.gz", LARGER)
    import_data(archive)
    spoil(archive)
    before = stored_at()
    assert import_data(archive).startswith("0 imported, 9 unchanged, 0 failed; 0 bytes read")
    assert min(stored_at()) > max(before)


def test_a_list_that_was_altered_on_disk_is_made_again(tmp_path: Path) -> None:
    names = [random.Random(number).randbytes(100).hex() for number in range(600)]
    folders = [(info(name, tarfile.DIRTYPE), b"") for name in names]
    archive = tmp_path / "a.tar"
    archive.write_bytes(tar_of([*folders, (info("a"), b"content")]))
    import_data(archive)
    kept = max(folder_of_region("content").rglob("*-*"), key=lambda path: path.stat().st_mtime_ns)
    status = kept.stat()
    with kept.open("r+b") as file:
        file.seek(1000)
        file.write(b"altered")
    os.utime(kept, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert import_data(archive).startswith("0 imported, 1 unchanged, 0 failed; ")
    assert contents() == {"a": b"content"}


def test_a_list_of_another_release_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(tmp_path / "a.tar.gz", NOISE)
    with monkeypatch.context() as patched:
        patched.setattr(listings, "_FIELDS", lambda member: 99 * (member.name,))
        import_data(archive)
    assert import_data(archive).startswith(f"0 imported, {len(NOISE)} unchanged, 0 failed; ")


def test_a_list_by_other_rules_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(tmp_path / "a.tar.gz", LARGER)
    with monkeypatch.context() as patched:
        patched.setattr(listings, "RULES", listings.RULES - 1)
        import_data(archive)
    spoil(archive)
    assert "is damaged" in complaints(archive)[0]


def test_a_file_that_was_lost_is_read_alone(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.tar.gz", NOISE)
    import_data(archive)
    row = ImportedFile.objects.get(path="4.bin")
    read_file.invalidate(row.source, row.size, row.version)
    assert import_data(archive).startswith("1 imported, 8 unchanged, 0 failed; 19.5 KB read")
    assert contents() == NOISE


def test_no_file_of_an_archive_has_a_row_before_all_of_it_was_read(tmp_path: Path) -> None:
    """Its checksum is at its end."""
    archive = packed(tmp_path / "a.tar.gz", NOISE)
    seen: list[int] = []
    Importer(source_at(str(archive)), Meddler(lambda: seen.append(len(contents())))).run()
    assert seen == [0]
    assert contents() == NOISE


def test_nothing_of_an_archive_with_a_wrong_checksum_stays_stored(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.tar.gz", NOISE)
    content = bytearray(archive.read_bytes())
    content[-8] ^= 1
    archive.write_bytes(content)
    assert "is damaged: Error -" in complaints(archive)[0]
    assert not any(is_stored(archive, name, len(each)) for name, each in NOISE.items())


def test_verified_files_stay_when_the_archive_is_damaged_later(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.tar.gz", NOISE)
    import_data(archive)
    read_file.invalidate(f"{archive}//", None, ImportedFile.objects.all()[0].version)  # the list
    status = archive.stat()
    content = bytearray(archive.read_bytes())
    content[-8] ^= 1
    archive.write_bytes(content)
    os.utime(archive, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "is damaged: Error -" in complaints(archive)[0]
    assert contents() == NOISE


def test_a_link_takes_the_place_of_a_file_of_its_name(tmp_path: Path) -> None:
    entries = [
        (info("a"), b"first"),
        (info("b"), b"other"),
        (info("a", tarfile.SYMTYPE, "b"), b""),
        (info("b"), b"last!"),
    ]
    (tmp_path / "a.tar").write_bytes(tar_of(entries))
    import_data(tmp_path / "a.tar")
    assert contents() == {"a": b"last!", "b": b"last!"}
    assert not is_stored(tmp_path / "a.tar", "a", 5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("members=2", "has more than 2 names, which is refused; --archive-limit members=N"),
        ("file=19K", "8.bin: has 20000 bytes, more than 19456, and is refused; --archive-lim"),
        ("size=100K", "unpacks to more than 102400 bytes, which is refused; --archive-limit "),
    ],
)
@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_each_limit_can_be_set_and_is_named(
    tmp_path: Path, suffix: str, given: str, said: str
) -> None:
    archive = pack(tmp_path, suffix, NOISE)
    with pytest.raises(CommandError, match=said):
        import_data(archive, f"--archive-limit={given}")
    name = given.partition("=")[0]
    import_data(archive, f"--archive-limit={name}=1G")
    assert contents() == NOISE
    # Now the list of its files is stored.
    with pytest.raises(CommandError, match=said):
        import_data(archive, f"--archive-limit={given}")


def test_an_archive_may_unpack_to_any_size_if_the_operator_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ALLOWANCE", 1 << 20)
    archive = packed(tmp_path / "a.tar.gz", {"zeros": bytes(2 << 20)})
    with pytest.raises(CommandError, match="--archive-limit ratio=N allows N times its own size"):
        import_data(archive)
    assert import_data(archive, "--archive-limit=ratio=2000").startswith("1 imported")
