"""Archives as sources of an import: imported files, refused names, and damage."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import re
import resource
import signal
import stat
import subprocess
import tarfile
import time
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from beaker_regions.stores.files import layout, maintenance
from beaker_regions.stores.files.store import FileStore
from beakercache import cache
from tasks.files.content import ContentUnavailableError, content_of, name_of
from tasks.files.index import file_row
from tasks.importing.importer import Importer
from tasks.importing.locating import source_at
from tasks.models import ImportedFile
from tasks.sources.archives import zips
from tasks.sources.archives.limits import ALLOWANCE, WINDOW_LOG
from tasks.sources.archives.streams import zstd
from tests.tasks.importing.test_command import (
    checked_rows,
    folder_of_region,
    run,
    run_apart,
    start,
    stored_files,
    version,
    wait_for,
)
from tests.tasks.importing.test_import import Meddler, contents, import_data, reported

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)

CHECKSUM = zstd.CompressionParameter.checksum_flag
FILES = {"a.txt": b"first", "in/side/b.png": b"\x89PNG", "in/empty": b""}
COMPRESSED = ["tar.gz", "tar.xz", "tar.bz2", "tar.zst"]
FORMATS = ["zip", "tar", *COMPRESSED, "tgz", "TBZ2", "tzst"]
PACK: dict[str, Any] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    # Packed like the zstd command does.
    "zst": lambda content: zstd.compress(content, options={CHECKSUM: 1}),
}
OPEN: dict[str, Any] = {"gz": gzip.open, "xz": lzma.open, "bz2": bz2.open, "zst": zstd.open}


def info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


def large(name: str, size: int) -> tarfile.TarInfo:
    made = info(name)
    made.size = size
    return made


def tar_of(entries: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for entry, content in entries:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def plain(files: dict[str, bytes]) -> Iterable[tuple[tarfile.TarInfo, bytes]]:
    return [(info(name), content) for name, content in files.items()]


def zip_of(files: dict[str, bytes], **modes: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3
            member.external_attr = modes.get(name, stat.S_IFREG | 0o600) << 16
            archive.writestr(member, content)
    return packed.getvalue()


def pack(folder: Path, suffix: str, files: dict[str, bytes]) -> Path:
    """Make an archive of these files and folders, in the format of its suffix."""
    archive = folder / f"archive.{suffix}"
    folders = {"in/": b"", "in/side/": b""}
    if suffix == "zip":
        archive.write_bytes(zip_of(folders | files))
    else:
        kind = suffix.lower().removeprefix("tar").lstrip(".").removeprefix("t")
        content = tar_of([(info("in", tarfile.DIRTYPE), b""), *plain(files)])
        archive.write_bytes(PACK.get(kind, bytes)(content))
    return archive


def complaints(source: Path) -> list[str]:
    """Import a source that cannot be imported completely. Return the lines of failure."""
    with pytest.raises(CommandError) as raised:
        import_data(source)
    return str(raised.value).splitlines()


@pytest.mark.parametrize("suffix", FORMATS)
def test_files_of_an_archive_are_imported_and_can_be_read_again(
    tmp_path: Path, suffix: str
) -> None:
    archive = pack(tmp_path, suffix, FILES)
    assert import_data(archive).startswith("3 imported, 0 unchanged, 0 failed; 9 bytes read")
    assert contents() == FILES
    image = ImportedFile.objects.get(path="in/side/b.png")
    assert (image.size, image.media_type) == (4, "image/png")
    assert image.source == f"{archive}//in/side/b.png"
    assert import_data(archive).startswith("0 imported, 3 unchanged, 0 failed; 0 bytes read")
    cache.invalidate_region("files")
    assert contents() == FILES
    cache.invalidate_region("files")
    archive.unlink()
    with pytest.raises(ContentUnavailableError):
        contents()


def test_files_are_read_in_any_order(tmp_path: Path) -> None:
    files = {f"{number:03}": random.Random(number).randbytes(number * 999) for number in range(99)}
    import_data(pack(tmp_path, "tar.gz", files))
    cache.invalidate_region("files")
    import_data(tmp_path / "archive.tar.gz", "--include=*5")
    assert import_data(tmp_path / "archive.tar.gz", "--force").startswith("99 imported, 0 unch")
    assert contents() == files


def test_members_of_a_zip_with_dictionaries_are_read_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {str(number): str(number).encode() * 1000 for number in range(12)}
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    seek = zips._Reader.seek

    def slow(reader: zips._Reader, position: int, whence: int = os.SEEK_SET) -> int:
        reached = seek(reader, position, whence)
        time.sleep(0.001)  # others may move the position
        return reached

    monkeypatch.setattr(zips._Reader, "seek", slow, raising=False)
    import_data(tmp_path / "a.zip", "--jobs=4")
    assert contents() == files


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_a_row_never_gets_the_content_of_another_version_of_its_archive(
    tmp_path: Path, suffix: str
) -> None:
    archive = pack(tmp_path, suffix, FILES)
    os.utime(archive, (1, 1))
    import_data(archive)
    pack(tmp_path, suffix, FILES | {"a.txt": b"other"})
    assert contents() == FILES
    row = file_row(ImportedFile.objects.get(path="a.txt").pk)
    assert row is not None
    cache.invalidate_region("files")
    with pytest.raises(ContentUnavailableError):
        content_of(row)
    assert import_data(archive).startswith("3 imported, 0 unchanged")
    assert contents() == FILES | {"a.txt": b"other"}


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_an_archive_that_changes_during_the_read_is_reported(tmp_path: Path, suffix: str) -> None:
    archive = pack(tmp_path, suffix, {"large": random.Random(1).randbytes(3 << 20)})

    def meddle() -> None:
        with open(archive, "ab") as file:
            file.write(b"more")

    reporter = Meddler(meddle)
    Importer(source_at(str(archive)), reporter).run()
    name = "large" if suffix == "zip" else str(archive)
    assert reporter.failures == {name: "changed while it was read"}
    assert contents() == {}


def test_prune_forgets_files_that_are_no_longer_in_the_archive(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"beside")
    import_data(tmp_path / "b.txt")
    archive = pack(tmp_path, "tar", FILES)
    import_data(archive)
    archive.write_bytes(tar_of(plain({"a.txt": b"first"}))[:600])
    with pytest.raises(CommandError, match="unexpected end of data"):
        import_data(archive, "--prune")
    assert len(ImportedFile.objects.all()) == 4  # the rest is unknown
    archive.write_bytes(tar_of(plain({"a.txt": b"first"})))
    assert "0 failed, 2 forgotten" in import_data(archive, "--prune")
    assert contents() == {"a.txt": b"first", "b.txt": b"beside"}


def test_links_in_a_tar_are_followed_within_it_only(tmp_path: Path) -> None:
    links = {
        "soft": (tarfile.SYMTYPE, "in/side/b.png"),
        "in/up": (tarfile.SYMTYPE, "../a.txt"),
        "hard": (tarfile.LNKTYPE, "a.txt"),
        "chain": (tarfile.SYMTYPE, "soft"),
        "folder": (tarfile.SYMTYPE, "in"),
        "here": (tarfile.SYMTYPE, "."),
        "loop": (tarfile.SYMTYPE, "loop"),
        "gone": (tarfile.SYMTYPE, "nowhere"),
        "out": (tarfile.SYMTYPE, "/etc/passwd"),
        "in/out": (tarfile.SYMTYPE, "../../a.txt"),
        "out-hard": (tarfile.LNKTYPE, "../a.txt"),
        "out-chain": (tarfile.SYMTYPE, "out"),
    }
    entries = [(info(name, *link), b"") for name, link in links.items()]
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar_of([*entries, *plain(FILES)])))
    assert reported(tmp_path / "a.tar.gz") == [
        "loop: Too many levels of symbolic links",
        "gone: No such file or directory",
        *(f"{out}: is a link out of the source" for out in ("out", "in/out", "out-hard")),
        "out-chain: is a link out of the source",
    ]
    linked = {"soft": b"\x89PNG", "chain": b"\x89PNG", "hard": b"first", "in/up": b"first"}
    assert contents() == FILES | linked


def test_a_file_that_was_packed_twice_is_imported(tmp_path: Path) -> None:
    """tar packs a file with several names, that it is given twice, as a hard link to itself."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a").write_bytes(b"content")
    (folder / "b").hardlink_to(folder / "a")
    order = ["tar", "-cf", "a.tar", "in/a", "in/b", "./in/a", "in/b"]
    subprocess.run(order, cwd=tmp_path, check=True)
    assert import_data(tmp_path / "a.tar").startswith("2 imported, 0 unchanged, 0 failed; 7 bytes")
    assert contents() == {"in/a": b"content", "in/b": b"content"}


def test_links_in_a_zip_are_followed_within_it_only(tmp_path: Path) -> None:
    links = {"in/soft": b"../a.txt", "out": b"/etc/passwd", "long": b"x" * 5000}
    modes = dict.fromkeys(links, stat.S_IFLNK | 0o777)
    (tmp_path / "a.zip").write_bytes(zip_of(links | FILES, **modes))
    assert complaints(tmp_path / "a.zip") == [
        "long: is a link to too long a name",
        "out: is a link out of the source",
        "1 of 6 files were not imported",
    ]
    assert contents() == FILES | {"in/soft": b"first"}


def test_names_that_lead_out_of_an_archive_and_special_files_are_refused(tmp_path: Path) -> None:
    bad = [
        info("/etc/passwd"),
        info("../up"),
        info("in/../../up"),
        info("null", tarfile.CHRTYPE),
        info("disk", tarfile.BLKTYPE),
        info("pipe", tarfile.FIFOTYPE),
        info("n" * 5000),
        info("."),
        info("a.txt"),
    ]
    entries = [*plain(FILES), *((entry, b"") for entry in bad), (info("./x/../c"), b"last")]
    (tmp_path / "a.tar").write_bytes(tar_of(entries))
    assert complaints(tmp_path / "a.tar") == [
        "/etc/passwd: would lie outside of the source",
        "../up: would lie outside of the source",
        "in/../../up: would lie outside of the source",
        "null: is a device, not a file",
        "disk: is a device, not a file",
        "pipe: is a pipe, not a file",
        f"{'n' * 5000}: has a name that no file can have",
        ".: has a name that no file can have",
        "2 of 12 files were not imported",
    ]
    # Of two files of one name, the last counts.
    assert contents() == FILES | {"c": b"last", "a.txt": b""}


def test_encrypted_and_special_members_of_a_zip_are_refused(tmp_path: Path) -> None:
    names = {"../up": b"", "null": b"", "secret": b"x", "new": b"y"}
    packed = bytearray(zip_of(FILES | names, null=stat.S_IFCHR | 0o600))
    directory = packed.rindex(b"PK\1\2", 0, packed.rindex(b"secret"))
    packed[directory + 8] |= 1  # encrypted
    directory = packed.rindex(b"PK\1\2", 0, packed.rindex(b"new"))
    packed[directory + 10] = 97  # compressed with a rare method
    (tmp_path / "a.zip").write_bytes(packed)
    assert complaints(tmp_path / "a.zip") == [
        "../up: would lie outside of the source",
        "null: is a device, not a file",
        "secret: is encrypted",
        "new: cannot be read: That compression method is not supported",
        "2 of 7 files were not imported",
    ]
    assert contents() == FILES


def test_any_name_in_a_tar_is_imported(tmp_path: Path) -> None:
    names = [b"caf\xe9.txt", "café.txt".encode(), b"new\nline", b"back\\slash", b"a//b", b"x" * 300]
    files = {os.fsdecode(name): name for name in names}
    (tmp_path / "a.tar").write_bytes(tar_of(plain(files)))
    import_data(tmp_path / "a.tar")
    cache.invalidate_region("files")
    found = {name_of(path): content for path, content in contents().items()}
    assert found == {name.replace("//", "/"): content for name, content in files.items()}


@pytest.mark.parametrize("suffix", ["zip", *COMPRESSED])
def test_a_zip_bomb_is_refused_and_the_files_before_it_are_imported(
    tmp_path: Path, suffix: str
) -> None:
    archive = tmp_path / f"archive.{suffix}"
    if suffix == "zip":
        archive.write_bytes(zip_of(FILES))
        with (
            zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as packed,
            packed.open("bomb", "w") as file,
        ):
            for _ in range(65):
                file.write(bytes(ALLOWANCE // 64))
    else:
        with (
            OPEN[suffix[4:]](archive, "wb") as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
            open("/dev/zero", "rb") as zeros,
        ):
            for entry, content in plain(FILES):
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            tar.addfile(large("bomb", ALLOWANCE // 64 * 65), zeros)
    said = complaints(archive)
    refused = (
        f"unpacks to more than {ALLOWANCE} bytes, which is refused; --archive-limit ratio=N allows "
        "N times its own size"
    )
    assert said[0] == f"bomb: has {ALLOWANCE // 64 * 65} bytes, with which the archive {refused}"
    # It is not unpacked, not even to read the members after it.
    assert said[1:-1] == ([] if suffix == "zip" else [f"{archive}: {refused}"])
    assert contents() == FILES


def test_an_endless_header_is_refused(tmp_path: Path) -> None:
    entry = info("a")
    entry.pax_headers = {"comment": "x" * (2 << 20)}
    (tmp_path / "a.tar").write_bytes(tar_of([*plain(FILES), (entry, b"")]))
    (said, _) = complaints(tmp_path / "a.tar")
    assert said.startswith(f"{tmp_path}/a.tar: has a header of 209")
    assert contents() == FILES


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
@pytest.mark.parametrize("size", ["-2048", "-9223372036854775808"])
@pytest.mark.parametrize("is_header", [False, True])
def test_a_negative_size_in_a_tar_is_damage(
    tmp_path: Path, suffix: str, size: str, is_header: bool
) -> None:
    """Such a tar leads back to its start, and could be read for ever."""
    entry = info("back")
    entry.pax_headers = {"size": size}
    packed = bytearray(tar_of([*plain(FILES), (entry, b"")]))
    if is_header:  # the header of the other headers has the size
        start = packed.index(b"././@PaxHeader")
        packed[start + 124 : start + 136] = b"\xff" * 4 + int(size).to_bytes(8, "big", signed=True)
        packed[start + 148 : start + 156] = b" " * 8
        total = sum(packed[start : start + 512])
        packed[start + 148 : start + 156] = b"%06o\0 " % total
    archive = tmp_path / f"a.{suffix}"
    archive.write_bytes(gzip.compress(packed) if suffix == "tar.gz" else packed)
    assert "is damaged: " in complaints(archive)[0]
    assert contents() == FILES


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_sparse_file_with_a_huge_map_is_refused(tmp_path: Path, suffix: str) -> None:
    """A map of 20 MB would take a gigabyte of memory."""
    entry = info("hole")
    entry.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    numbers = 1_500_000
    packed = tar_of([*plain(FILES), (entry, b"%d\n" % (numbers // 2) + b"0\n" * numbers)])
    archive = tmp_path / f"a.{suffix}"
    archive.write_bytes(gzip.compress(packed) if suffix == "tar.gz" else packed)
    assert "has a header of 2097152 bytes, which is refused" in complaints(archive)[0]
    assert contents() == FILES


def test_a_sparse_file_in_a_tar_counts_with_its_unpacked_size(tmp_path: Path) -> None:
    entry = info("hole")
    size = str(1 << 40)
    entry.pax_headers = {
        "GNU.sparse.size": size,
        "GNU.sparse.realsize": size,
        "GNU.sparse.map": "0,1",
    }
    (tmp_path / "a.tar").write_bytes(tar_of([*plain(FILES), (entry, b"x")]))
    assert complaints(tmp_path / "a.tar")[0].startswith(f"hole: has {size} bytes, with which the")
    assert contents() == FILES


SKIPPED = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"aside"
"""A skippable frame, which has no content (RFC 8878, section 3.1.2)."""
NOISE = {f"{number}.bin": random.Random(number).randbytes(20_000) for number in range(9)}


@pytest.mark.parametrize("suffix", ["tar", *COMPRESSED])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_truncated_archive_gives_its_complete_files(
    tmp_path: Path, suffix: str, part: float
) -> None:
    archive = pack(tmp_path, suffix, NOISE)
    os.truncate(archive, int(archive.stat().st_size * part))
    said = complaints(archive)
    assert str(archive) in said[0]
    assert "is cut short" in said[0]
    assert len(said) <= 2
    # A block cannot be read without its end.
    block = {"tar.bz2": 900_000, "tar.zst": 1 << 17}.get(suffix, 1)
    whole = int(len(tar_of(plain(NOISE))) * part // block * block // 20_992)
    assert contents() == dict(list(NOISE.items())[:whole])


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
@pytest.mark.parametrize("damage", ["no end", "nonsense"])
def test_a_tar_gives_the_files_before_an_invalid_header(
    tmp_path: Path, suffix: str, damage: str
) -> None:
    archive = tmp_path / f"archive.{suffix}"
    content = bytearray(tar_of(plain(NOISE)))
    header = content.index(b"4.bin")
    if damage == "no end":
        del content[header:]
    else:
        content[header] ^= 1
    archive.write_bytes(PACK.get(suffix[4:], bytes)(content))
    (said, _) = complaints(archive)
    assert said == f"{archive}: is damaged, or cut short, after {header} bytes of its content"
    assert contents() == dict(list(NOISE.items())[:4])


def test_the_checksum_is_verified_whatever_else_is_wrong(tmp_path: Path) -> None:
    content = tar_of(plain(NOISE))
    packed = bytearray(gzip.compress(content, compresslevel=0))
    packed[packed.index(b"4.bin")] ^= 1
    packed[packed.index(NOISE["1.bin"][:100])] ^= 1
    (tmp_path / "a.tar.gz").write_bytes(packed)
    assert "is damaged: Error -" in complaints(tmp_path / "a.tar.gz")[0]
    assert contents() == {}


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_a_compressed_tar_that_does_not_match_its_checksum_gives_nothing(
    tmp_path: Path, suffix: str
) -> None:
    archive = pack(tmp_path, suffix, NOISE)
    packed = bytearray(archive.read_bytes())
    packed[len(packed) // 2] ^= 1
    archive.write_bytes(packed)
    said = complaints(archive)
    assert re.match(f"'?{archive}'?( cannot be imported)?: is damaged: ", said[0])
    assert contents() == {}


def test_zstandard_is_read_in_all_kinds_of_frames(tmp_path: Path) -> None:
    content = tar_of(plain(NOISE))
    stream = zstd.ZstdCompressor(options={CHECKSUM: 1})
    frames = [
        SKIPPED,
        zstd.compress(content[:70_000]),  # without a checksum
        b"".join(map(stream.compress, (content[70_000:71_000], content[71_000:150_000]))),
        stream.flush(),  # without the size of its content
        zstd.compress(b""),
        SKIPPED,
        zstd.compress(content[150_000:], options={CHECKSUM: 1}),
        SKIPPED,
    ]
    archive = tmp_path / "a.tar.zst"
    archive.write_bytes(b"".join(frames))
    assert import_data(archive).startswith("9 imported, 0 unchanged, 0 failed")
    assert contents() == NOISE
    # A checksum counts for the frames before it too.
    frames[-2] = frames[-2][:-1] + bytes([frames[-2][-1] ^ 1])
    archive.write_bytes(b"".join(frames))
    ImportedFile.objects.all().delete()
    assert "Restored data doesn't match checksum" in complaints(archive)[0]
    assert contents() == {}


@pytest.mark.parametrize("first", [True, False])
def test_a_window_that_takes_too_much_memory_is_refused(tmp_path: Path, first: bool) -> None:
    content = tar_of(plain(FILES))
    head = b"" if first else zstd.compress(content[:512])
    stream = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: WINDOW_LOG + 1})
    tail = stream.compress(content[0 if first else 512 :]) + stream.flush()
    (tmp_path / "a.tar.zst").write_bytes(head + tail)
    assert "takes more than 134217728 bytes of memory" in complaints(tmp_path / "a.tar.zst")[0]
    assert contents() == {}


def test_a_damaged_member_of_a_zip_is_reported_and_the_others_are_imported(tmp_path: Path) -> None:
    archive = pack(tmp_path, "zip", NOISE)
    packed = bytearray(archive.read_bytes())
    packed[packed.index(b"4.bin") + 10_000] ^= 1
    archive.write_bytes(packed)
    (said, _) = complaints(archive)
    assert said.startswith("4.bin: is damaged: ")
    assert contents() == {name: content for name, content in NOISE.items() if name != "4.bin"}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("content", [b"", b"no archive" * 999])
def test_a_file_that_is_an_archive_only_by_name_is_reported(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(content)
    (said,) = complaints(tmp_path / f"a.{suffix}")
    assert said.startswith(f"'{tmp_path}/a.{suffix}' cannot be imported: is ")


@pytest.mark.parametrize("suffix", [pytest.param("zip", marks=pytest.mark.slow), "tar.gz"])
def test_an_import_that_is_killed_at_any_moment_is_finished_by_the_next(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the files were imported in a former version. Their rows must not name the new one."""
    names = [f"{number:04}" for number in range(60)]
    archive = pack(tmp_path, suffix, {name: version(name, 1) for name in names[::2]})
    assert run(archive)[0] == 0
    pack(tmp_path, suffix, {name: version(name, 2) for name in names})
    killed = 0
    for _ in range(3):
        enough = stored_files() + random.randint(1, 15)
        with start(archive) as process:
            wait_for(lambda: stored_files() >= enough or process.poll() is not None)  # noqa: B023
            process.send_signal(signal.SIGKILL)
            process.communicate()
        killed += process.returncode == -signal.SIGKILL  # else it was quicker than this test
        assert 30 <= checked_rows() <= 60
    assert killed
    assert run(archive)[0] == 0
    assert checked_rows() == 60
    assert contents() == {name: version(name, 2) for name in names}
    # The killed runs leave nothing behind.
    monkeypatch.setattr(maintenance, "LEFT_ALONE", -60.0)  # no process is using them
    call_command("regions", "sweep", "files", stdout=io.StringIO())
    assert list(folder_of_region("incoming").iterdir()) == []
    store = cache["files"].store
    assert isinstance(store, FileStore)
    # Entries of other tests, too.
    assert stored_files() == len({found.content for found in layout.stored(store)})


def test_a_large_file_in_an_archive_needs_little_memory(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=0) as tar, open("/dev/zero", "rb") as zeros:
        tar.addfile(large("large", 192 << 20), zeros)

    def have_little() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (120 << 20, 120 << 20))

    assert run_apart(archive, preexec_fn=have_little)[0] == 0
    assert ImportedFile.objects.get().size == 192 << 20
