"""Archives of the formats that libarchive reads: 7z, rar, deb, cpio and iso."""

from __future__ import annotations

import ctypes
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError

from beakercache import cache
from tasks.importing import importer
from tasks.sources.archives import converted
from tests.tasks.importing.test_archives import NOISE, complaints
from tests.tasks.importing.test_http import origin
from tests.tasks.importing.test_import import contents, import_data, reported

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tasks.origin import Origin

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["origin"]

FILES = {"a.txt": b"first", "in/fé.png": b"\x89PNG", "in/empty": b""}
FORMATS = {"7z": "7zip", "cpio": "cpio_newc", "iso": "iso9660", "deb": "ar_bsd"}


def written(path: Path, files: dict[str, bytes]) -> Path:
    """Make an archive in the format of its suffix."""
    if path.suffix == ".rar":
        path.write_bytes(rar_of(files))
        return path
    library = ctypes.CDLL("libarchive.so.13")
    handle = ctypes.c_void_p
    library.archive_write_new.restype = library.archive_entry_new.restype = handle
    archive = handle(library.archive_write_new())
    getattr(library, f"archive_write_set_format_{FORMATS[path.suffix[1:]]}")(archive)
    assert library.archive_write_open_filename(archive, str(path).encode()) == 0
    for name, content in files.items():
        entry = handle(library.archive_entry_new())
        library.archive_entry_set_pathname_utf8(entry, name.encode())
        library.archive_entry_set_mode(entry, 0o100644)
        library.archive_entry_set_size(entry, ctypes.c_int64(len(content)))
        assert library.archive_write_header(archive, entry) == 0, name
        library.archive_write_data(archive, content, ctypes.c_size_t(len(content)))
        library.archive_entry_free(entry)
    assert library.archive_write_close(archive) == 0
    return path


def rar_of(files: dict[str, bytes]) -> bytes:
    """Return a rar of version 4 whose files are not compressed."""

    def block(kind: int, flags: int, body: bytes) -> bytes:
        head = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
        return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head

    packed = b"Rar!\x1a\x07\0" + block(0x73, 0, bytes(6))
    for name, content in files.items():
        raw = name.encode()
        size, check = len(content), zlib.crc32(content)
        fields = (size, size, 3, check, 0, 20, 0x30, len(raw), 0o100644)
        packed += block(0x74, 0x8000, struct.pack("<IIBIIBBHI", *fields) + raw) + content
    return packed + block(0x7B, 0x4000, b"")


@pytest.mark.parametrize("suffix", [*FORMATS, "rar"])
def test_files_are_imported_and_can_be_read_again(tmp_path: Path, suffix: str) -> None:
    files = {"debian-binary": b"2.0\n", "data.tar": b"x" * 99} if suffix == "deb" else FILES
    archive = written(tmp_path / f"a.{suffix}", files)
    assert import_data(archive).startswith(f"{len(files)} imported, 0 unchanged, 0 failed; ")
    assert contents() == files
    assert import_data(archive).startswith(f"0 imported, {len(files)} unchanged, 0 failed; 0 byt")
    cache.invalidate_region("files")
    assert contents() == files


def test_the_first_bytes_say_the_format(tmp_path: Path) -> None:
    written(tmp_path / "a.7z", FILES).rename(tmp_path / "a.zip")
    import_data(tmp_path / "a.zip")
    assert contents() == FILES


def test_a_small_archive_at_a_url_is_read(origin: Origin, tmp_path: Path) -> None:
    origin.files = {"a.7z": written(tmp_path / "a.7z", FILES).read_bytes()}
    import_data(origin.url("a.7z"))
    assert contents() == FILES


def test_a_damaged_archive_gives_its_whole_files(tmp_path: Path) -> None:
    archive = written(tmp_path / "a.7z", NOISE)
    packed = bytearray(archive.read_bytes())
    packed[len(packed) // 2] ^= 1
    archive.write_bytes(packed)
    assert "is cut short" in complaints(archive)[0]
    whole = len(contents())
    assert 0 < whole < len(NOISE)
    assert contents() == dict(list(NOISE.items())[:whole])


def test_files_can_be_read_in_a_process_that_is_forked_while_the_archive_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = written(tmp_path / "a.7z", NOISE)
    import_data(archive)
    monkeypatch.setattr(importer, "_MANY", 1)
    assert import_data(archive, "--force").startswith(f"{len(NOISE)} imported, 0 unchanged")
    assert contents() == NOISE


def cpio_entry(name: bytes, content: bytes = b"", *, mode: int = 0o100644, links: int = 1) -> bytes:
    numbers = (7, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + name + b"\0"
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


CPIO_END = cpio_entry(b"TRAILER!!!")


@pytest.mark.parametrize("mode", [0o140644, 0o060644, 0o170644])
def test_sockets_and_devices_are_skipped(tmp_path: Path, mode: int) -> None:
    archive = tmp_path / "a.cpio"
    entries = cpio_entry(b"a", b"first"), cpio_entry(b"s", mode=mode), cpio_entry(b"b", b"second")
    archive.write_bytes(b"".join(entries) + CPIO_END)
    (said,) = reported(archive)
    assert said.startswith("s: is a ")
    assert contents() == {"a": b"first", "b": b"second"}


def test_hard_links_with_their_content_last_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.cpio"
    linked = cpio_entry(b"a", links=2) + cpio_entry(b"b", b"content", links=2)
    archive.write_bytes(linked + CPIO_END)
    assert "hard links whose content is with the last" in complaints(archive)[0]
    assert contents() == {}


def test_only_the_format_of_the_first_bytes_is_read(tmp_path: Path) -> None:
    """libarchive also reads lists of files of this machine."""
    (tmp_path / "secret").write_bytes(b"secret")
    disc = bytearray(written(tmp_path / "a.iso", FILES).read_bytes())
    lines = f"#mtree\nstolen type=file contents={tmp_path}/secret\n"
    disc[: len(lines)] = lines.encode()
    (tmp_path / "a.iso").write_bytes(disc)
    import_data(tmp_path / "a.iso")
    assert contents() == FILES


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    for suffix in (*FORMATS, "rar"):
        (tmp_path / f"a.{suffix}").write_bytes(b"no archive" * 9999)
        (said,) = complaints(tmp_path / f"a.{suffix}")
        assert "cannot be imported: is damaged: it does not begin as its name says" in said


def test_without_libarchive_they_are_refused_and_can_be_kept_as_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converted, "LIBRARY", "libarchive.so.0")
    archive = written(tmp_path / "a.7z", FILES)
    with pytest.raises(CommandError, match="; --as-file imports it as one file"):
        import_data(archive)
    assert import_data(archive, "--as-file").startswith("1 imported")
