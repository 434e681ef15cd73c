"""The import within one process: imported, unchanged and refused files."""

from __future__ import annotations

import io
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command

from beakercache import cache
from tasks.files.content import content_of, name_of
from tasks.files.index import file_row, files_page
from tasks.importing.importer import Importer
from tasks.importing.locating import source_at
from tasks.models import ImportedFile

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db(transaction=True)


def without_retries(text: str) -> str:
    """Return the lines of a run without those of failures that had another try."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if "; another try in " not in line)


def import_data(source: Path | str, *options: str) -> str:
    """Return the last line of the command. Raises CommandError with its message."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("import_data", str(source), *options, stdout=out, stderr=err)
    except CommandError as error:
        raise CommandError(f"{without_retries(err.getvalue())}{error}") from error
    assert not without_retries(err.getvalue())
    return out.getvalue().splitlines()[-1]


def reported(source: Path | str, *options: str) -> list[str]:
    """Return the lines about names of a run that is no failure."""
    err = io.StringIO()
    call_command("import_data", str(source), *options, stdout=io.StringIO(), stderr=err)
    return err.getvalue().splitlines()


def contents() -> dict[str, bytes]:
    """Return the content of every file of the index by path, as the pages read it."""
    rows = [file_row(pk) for pk in ImportedFile.objects.values_list("pk", flat=True)]
    return {row.path: content_of(row).read_bytes() for row in rows if row is not None}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "in" / "side").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"first")
    (folder / "in" / "side" / "b.png").write_bytes(b"\x89PNG")
    (folder / "in" / "empty").write_bytes(b"")
    return folder


def test_a_folder_is_imported_with_its_subfolders(source: Path) -> None:
    assert import_data(source).startswith("3 imported, 0 unchanged, 0 failed; 9 bytes read")
    assert contents() == {"a.txt": b"first", "in/side/b.png": b"\x89PNG", "in/empty": b""}
    image = ImportedFile.objects.get(path="in/side/b.png")
    assert (image.size, image.media_type) == (4, "image/png")
    assert image.source == str(source / "in" / "side" / "b.png")


def test_a_single_file_is_imported_under_its_name(source: Path) -> None:
    import_data(source / "in" / "side" / "b.png")
    assert contents() == {"b.png": b"\x89PNG"}


def test_a_second_run_reads_nothing(source: Path) -> None:
    import_data(source)
    before = (source / "a.txt").stat()
    (source / "a.txt").write_bytes(b"other")  # which can only be noticed by reading it
    os.utime(source / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert import_data(source).startswith("0 imported, 3 unchanged, 0 failed; 0 bytes read")
    assert contents()["a.txt"] == b"first"


def test_only_a_changed_file_is_imported_again(source: Path) -> None:
    import_data(source)
    assert [row.size for row in files_page("a.txt", 1).rows] == [5]
    (source / "a.txt").write_bytes(b"second")
    assert import_data(source).startswith("1 imported, 2 unchanged, 0 failed; 6 bytes read")
    assert contents()["a.txt"] == b"second"
    assert [row.size for row in files_page("a.txt", 1).rows] == [6]


def test_a_file_that_the_region_has_lost_is_imported_again(source: Path) -> None:
    import_data(source)
    cache.invalidate_region("files")
    assert import_data(source).startswith("3 imported, 0 unchanged, 0 failed; 9 bytes read")


def test_a_file_that_was_deleted_at_its_source_is_kept(source: Path) -> None:
    import_data(source)
    (source / "a.txt").unlink()
    (note,) = reported(source)
    assert note.startswith("note: 1 imported file is no longer in the source; the content goes ")
    assert contents()["a.txt"] == b"first"


def test_a_moved_source_is_indexed_again(source: Path) -> None:
    import_data(source)
    source.rename(source.parent / "moved")
    import_data(source.parent / "moved", "--replace")
    cache.invalidate_region("files")
    assert len(contents()) == 3


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("missing", "No such file or directory"),
        ("a.txt/below", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("nothing", "holds no files"),
        ("pipe", "is a pipe, neither a folder nor a file"),
        ("nul\0", "embedded null"),
    ],
)
def test_a_source_that_cannot_be_imported_is_reported(
    source: Path, name: str, complaint: str
) -> None:
    (source / "nothing").mkdir()
    os.mkfifo(source / "pipe")
    with pytest.raises(CommandError, match=complaint) as raised:
        import_data(source / name)
    assert name.replace("\0", "\\x00") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_unreadable_file_is_reported() -> None:
    # Not even root reads the first page of a process's memory.
    with pytest.raises(CommandError) as raised:
        import_data(f"/proc/{os.getpid()}/mem")
    assert str(raised.value).splitlines() == [
        "mem: Input/output error",
        "1 of 1 file was not imported",
    ]


def test_links_are_followed_within_the_source_only(source: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_bytes(b"secret")
    (tmp_path / "source-beside").write_bytes(b"secret")
    links: dict[str, str | Path] = {
        "to-file": "in/side/b.png",
        "to-folder": "in",
        "to-parent": ".",
        "out-file": "../secret/key",
        "out-folder": secret,
        "out-beside": "../source-beside",
        "out-over-link": "out-folder/key",
        "loop": "loop",
        "dangling": "gone",
    }
    for name, target in links.items():
        (source / name).symlink_to(target)
    assert reported(source) == [
        "dangling: No such file or directory",
        "loop: Too many levels of symbolic links",
        "out-beside: is a link out of the source",
        "out-file: is a link out of the source",
        "out-folder: is a link out of the source",
        "out-over-link: is a link out of the source",
    ]
    assert contents() == {
        "a.txt": b"first",
        "in/side/b.png": b"\x89PNG",
        "in/empty": b"",
        "to-file": b"\x89PNG",
    }


def test_special_files_are_refused_without_waiting(source: Path) -> None:
    os.mkfifo(source / "pipe")
    os.mknod(source / "other", stat.S_IFSOCK | 0o600)  # a socket without a listener
    assert reported(source) == ["other: is a socket, not a file", "pipe: is a pipe, not a file"]
    assert len(contents()) == 3


def test_any_name_is_imported(tmp_path: Path) -> None:
    names = [
        b"caf\xe9.txt",
        "café.txt".encode(),
        b"new\nline",
        b"back\\slash",
        b"\\xe9",
        b"-rf",
        b" ",
        b"<b>&amp;",
        b"data:text,x",
        "\N{WAVING HAND SIGN}".encode(),
        b"x" * 255,
    ]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    import_data(tmp_path)
    assert {name_of(path): content for path, content in contents().items()} == {
        os.fsdecode(name): name for name in names
    }


@pytest.mark.parametrize(
    ("name", "content", "media_type"),
    [
        ("a.PNG", b"", "image/png"),
        ("data:,a.png", b"", "image/png"),
        ("a.svgz", b"", "application/gzip"),
        ("plain", b"text", "text/plain"),
        ("cut", b"a" + "\N{EURO SIGN}".encode() * 9999, "text/plain"),
        ("latin", b"caf\xe9", "application/octet-stream"),
        ("binary", b"\x7fELF\0", "application/octet-stream"),
        ("nothing", b"", "application/octet-stream"),
    ],
)
def test_the_media_type_comes_from_the_name_or_else_from_the_content(
    tmp_path: Path, name: str, content: bytes, media_type: str
) -> None:
    (tmp_path / name).write_bytes(content)
    import_data(tmp_path)
    assert ImportedFile.objects.get().media_type == media_type


def test_names_that_differ_only_in_case_are_two_files(source: Path) -> None:
    (source / "A.txt").write_bytes(b"capital")
    import_data(source)
    assert (contents()["a.txt"], contents()["A.txt"]) == (b"first", b"capital")


def test_a_long_path_is_imported_and_a_too_long_one_is_reported(source: Path) -> None:
    folder = os.open(source, os.O_RDONLY)
    depth = len(str(source))
    while depth < 4500:
        os.mkdir("d" * 200, dir_fd=folder)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
        depth += 201
        with open(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=folder), "wb") as file:
            file.write(b"%d" % depth)
    os.close(folder)
    try:
        with pytest.raises(CommandError, match="d: File name too long\n1 of "):
            import_data(source)
        longest = max(contents().items(), key=lambda item: len(item[0]))
    finally:
        shutil.rmtree(source)
    assert len(longest[0]) > 3500
    assert int(longest[1]) == len(f"{source}/{longest[0]}") - len("/f")


def test_a_file_with_a_time_outside_the_databases_range_is_imported(source: Path) -> None:
    os.utime(source / "a.txt", (0, 2**34))  # in the year 2446, the last one of ext4
    import_data(source)
    assert import_data(source).startswith("0 imported, 3 unchanged")


class Meddler:
    """A reporter that changes the source after the first bytes were read."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        self._meddle: Callable[[], object] | None = meddle
        self.failures: dict[str, str] = {}

    def unpack(self, archive: str, size: int) -> None:
        pass

    def begin(self, files: int, size: int) -> None:
        pass

    def expect(self, size: int) -> None:
        pass

    def advance(self, size: int) -> None:
        meddle, self._meddle = self._meddle, None
        if meddle is not None:
            meddle()

    def pass_over(self, size: int) -> None:
        pass

    def done(self, path: str, change: str) -> None:
        pass

    def failed(self, path: str, reason: str) -> None:
        self.failures[path] = reason

    def skipped(self, path: str, reason: str) -> None:
        pass

    def planned(self, what: str, path: str) -> None:
        pass


def test_files_that_change_during_the_import_are_reported_and_the_others_kept(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    outside = tmp_path / "outside"
    outside.write_bytes(b"12345")
    for name in ("a-growing", "b-changed", "b-same-size", "c-gone", "d-pipe", "e-link", "f-same"):
        (source / name).write_bytes(b"first")
    (source / "a-growing").write_bytes(bytes(3 << 20))

    def meddle() -> None:
        with open(source / "a-growing", "ab") as file:
            file.write(b"more")
        (source / "b-changed").write_bytes(b"second")
        (source / "b-same-size").write_bytes(b"other")
        os.utime(source / "b-same-size", (1, 1))
        (source / "c-gone").unlink()
        (source / "d-pipe").unlink()
        os.mkfifo(source / "d-pipe")
        (source / "e-link").unlink()
        (source / "e-link").symlink_to(outside)

    reporter = Meddler(meddle)
    summary = Importer(source_at(str(source)), reporter).run()
    assert reporter.failures == {
        "a-growing": "changed while it was read",
        "b-changed": "has changed",
        "b-same-size": "has changed",
        "c-gone": "No such file or directory",
        "d-pipe": "is no regular file any more",
        "e-link": "Too many levels of symbolic links",
    }
    assert (summary.imported, summary.failed) == (1, 6)
    assert contents() == {"f-same": b"first"}


def test_a_file_that_changes_during_the_read_keeps_its_former_version(tmp_path: Path) -> None:
    file = tmp_path / "source" / "file"
    file.parent.mkdir()
    file.write_bytes(b"former")
    import_data(file.parent)
    file.write_bytes(bytes(3 << 20))
    reporter = Meddler(lambda: os.truncate(file, 5))
    Importer(source_at(str(file.parent)), reporter).run()
    assert reporter.failures == {"file": "changed while it was read"}
    assert contents() == {"file": b"former"}


def test_a_folder_that_becomes_a_link_is_not_followed_out_of_the_source(tmp_path: Path) -> None:
    source, outside = tmp_path / "source", tmp_path / "outside"
    (source / "folder").mkdir(parents=True)
    (source / "a").write_bytes(b"first")
    (source / "folder" / "file").write_bytes(b"inside")
    shutil.copytree(source / "folder", outside, copy_function=shutil.copy2)

    def meddle() -> None:
        (source / "folder").rename(source / "elsewhere")
        (source / "folder").symlink_to(outside)

    reporter = Meddler(meddle)
    Importer(source_at(str(source)), reporter).run()
    assert reporter.failures == {"folder/file": "is gone, or behind a symbolic link now"}
    assert contents() == {"a": b"first"}
