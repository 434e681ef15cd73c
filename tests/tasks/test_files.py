"""Names of files as text, and lost content that is read again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command
from hypothesis import example, given
from hypothesis import strategies as st

from beakercache import cache
from tasks.files.content import ContentUnavailableError, content_of, name_of, path_of
from tasks.files.index import FileRow, file_row
from tasks.models import ImportedFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

names = st.binary(max_size=60).filter(lambda name: b"\0" not in name)
escapes = st.lists(st.sampled_from([b"\\", b"x", b"e9", b"\xe9", b"\\xe9"])).map(b"".join)


@given(names | escapes)
@example(b"\\xe9\xe9\\\\")
def test_a_path_converts_back_to_its_name(name: bytes) -> None:
    path = path_of(os.fsdecode(name))
    path.encode()  # as a database does
    assert os.fsencode(name_of(path)) == name


@given(names | escapes, names | escapes)
def test_different_names_have_different_paths(one: bytes, other: bytes) -> None:
    assert (path_of(os.fsdecode(one)) == path_of(os.fsdecode(other))) is (one == other)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / os.fsdecode(b"caf\xe9.txt")
    file.write_bytes(b"first")
    return file


def imported(source: Path) -> FileRow:
    call_command("import_data", str(source.parent))
    row = file_row(ImportedFile.objects.get().pk)
    assert row is not None
    return row


@pytest.mark.django_db(transaction=True)
def test_content_that_is_no_longer_stored_is_read_again_and_stored(source: Path) -> None:
    row = imported(source)
    cache.invalidate_region("files")
    assert content_of(row).read_bytes() == b"first"
    source.unlink()
    assert content_of(row).read_bytes() == b"first"


def replace(source: Path) -> None:
    """Replace ``source`` by other content of the same size and time."""
    status = source.stat()
    source.write_bytes(b"other")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))


def link(source: Path) -> None:
    source.rename(source.with_name("moved"))
    source.symlink_to("moved")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "change",
    [os.unlink, replace, link, lambda source: source.write_bytes(b"second")],
    ids=["gone", "replaced", "a link", "changed"],
)
def test_content_is_unavailable_if_neither_region_nor_source_has_it(
    source: Path, change: Callable[[Path], object]
) -> None:
    row = imported(source)
    change(source)
    assert content_of(row).read_bytes() == b"first"
    cache.invalidate_region("files")
    with pytest.raises(ContentUnavailableError):
        content_of(row)
