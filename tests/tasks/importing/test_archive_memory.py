"""Archives that need much memory, or claim much content, are refused before memory is used."""

from __future__ import annotations

import io
import lzma
import resource
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.sources.archives.damage import ArchiveError, TooLargeError
from tasks.sources.archives.formats import archive_version, open_archive
from tasks.sources.archives.limits import Limits
from tasks.sources.archives.streams import XzUnpacked

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.sources.archives.members import Archive, Member

DICTIONARY = 40
"""The byte of an .xz that means a dictionary of 4 GiB (section 5.3.1 of the format)."""


def with_large_dictionary(packed: bytes) -> bytes:
    """Return an .xz whose first block needs such a dictionary."""
    start = 12
    header = bytearray(packed[start : start + (packed[start] + 1) * 4])
    place = header.index(b"\x21\x01") + 2  # the filter LZMA2, and the length of its properties
    header[place] = DICTIONARY
    header[-4:] = struct.pack("<I", zlib.crc32(header[:-4]))
    return packed[:start] + bytes(header) + packed[start + len(header) :]


def tar() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("a.txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"first"))
    return packed.getvalue()


def opened(path: Path, limits: Limits | None = None) -> Archive:
    return open_archive(str(path), archive_version(path.stat()), limits)


def read(path: Path, limits: Limits | None = None) -> dict[str, bytes]:
    archive = opened(path, limits)
    try:
        members: list[Member] = list(archive.members())
        return {member.name: archive.open(member).read() for member in members}
    finally:
        archive.close()


@pytest.mark.parametrize("first", [True, False])
def test_an_xz_with_a_huge_dictionary_is_refused(tmp_path: Path, first: bool) -> None:
    content = tar()
    start = 0 if first else 1000
    packed = with_large_dictionary(lzma.compress(content[start:]))
    if not first:
        packed = lzma.compress(content[:start]) + packed
    (tmp_path / "a.tar.xz").write_bytes(packed)
    # In a separate process, with less memory than the archive needs.
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.tasks.importing.test_archive_memory import read\n"
        "try:\n"
        "    read(Path(sys.argv[1]))\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.tar.xz")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)),
    )
    assert "bytes of memory to unpack, which is refused" in done.stdout, done.stderr


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 3)), min_size=1, max_size=4),
    st.lists(st.integers(1, 100), min_size=1),
)
def test_consecutive_streams_are_one_content(
    streams: list[tuple[bytes, int]], sizes: list[int]
) -> None:
    packed = b"".join(lzma.compress(each) + b"\0" * 4 * padding for each, padding in streams)
    content = b"".join(each for each, _ in streams)
    unpacked, read_ = XzUnpacked(io.BytesIO(packed)), b""
    for number in range(len(content) + 1):
        chunk = unpacked.read(sizes[number % len(sizes)])
        if not chunk:
            break
        read_ += chunk
    assert read_ == content


def test_a_truncated_xz_or_one_with_trailing_data_is_an_error() -> None:
    packed = lzma.compress(b"x" * 100)
    cut = XzUnpacked(io.BytesIO(packed[:-20]))
    assert cut.read(1000) == b"x" * 100
    with pytest.raises(EOFError):
        cut.read(1000)
    more = XzUnpacked(io.BytesIO(packed + b"something else, of some length"))
    assert more.read(1000) == b"x" * 100
    with pytest.raises(lzma.LZMAError):
        more.read(1000)


def zip_of(path: Path, names: int, method: int = zipfile.ZIP_STORED) -> bytes:
    with zipfile.ZipFile(path, "w", method) as archive:
        for number in range(names):
            archive.writestr(str(number), b"x" * 100)
    return path.read_bytes()


def test_a_zip_with_too_many_names_is_refused_during_the_read(tmp_path: Path) -> None:
    zip_of(tmp_path / "a.zip", 10)
    assert len(read(tmp_path / "a.zip", Limits(members=10))) == 10
    zip_of(tmp_path / "b.zip", 11)
    with pytest.raises(TooLargeError, match="has more than 10 names"):
        opened(tmp_path / "b.zip", Limits(members=10))


def test_a_zip_with_too_long_a_directory_is_refused(tmp_path: Path) -> None:
    zip_of(tmp_path / "a.zip", 2)
    assert len(read(tmp_path / "a.zip", Limits(members=2))) == 2
    zip_of(tmp_path / "b.zip", 2000)
    with pytest.raises(TooLargeError, match="has a directory of"):
        opened(tmp_path / "b.zip", Limits(members=2))


def test_a_member_of_a_zip_with_a_huge_dictionary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    packed = bytearray(zip_of(path, 1, zipfile.ZIP_LZMA))
    assert read(path) == {"0": b"x" * 100}
    place = 30 + len("0") + 5
    packed[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(packed)
    with pytest.raises(TooLargeError, match="bytes of memory to unpack"):
        read(path)
    path.write_bytes(bytes(packed).replace(b"PK\x03\x04", b"PK\x03\x05"))
    with pytest.raises(ArchiveError):
        read(path)
