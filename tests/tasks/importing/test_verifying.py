"""The check of all imported files: which of them cannot be served, by name."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from beakercache import cache
from tasks.files.content import read_file
from tasks.importing.index import version_of
from tasks.models import ImportedFile
from tests.tasks.importing.test_import import contents, import_data

pytestmark = pytest.mark.django_db(transaction=True)

SIZES = {"in/small.txt": 100, "in/odd\n.bin": 40_000, "in/other.bin": 50_000, "large.bin": 2 << 20}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for path, size in SIZES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(os.urandom(size))
    import_data(folder, "--into=site")
    return folder


def verify_data(*options: str) -> tuple[int, str, list[str]]:
    """Return the exit status, the output, and the lines of errors without the first one."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    try:
        call_command("verify_data", *options, stdout=out, stderr=err)
    except CommandError as error:
        status = error.returncode
        err.write(str(error))
    return status, out.getvalue(), err.getvalue().splitlines()[1:]


def row(path: str) -> ImportedFile:
    return ImportedFile.objects.get(path=f"site/{path}")


def file_of(path: str) -> Path:
    """Return the file in which the content is, or the record that contains it."""
    version = version_of(row(path))
    content = read_file.peek(*version)
    assert content is not None
    if not content.in_memory:
        return Path(content)
    folder, name = cache["files"].folder, read_file.entry(*version).address.hex()
    assert folder is not None
    return folder / "entries" / name[:2] / name[2:]


def damage(file: Path) -> None:
    """Change one byte, as a failing disk does."""
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.usefixtures("source")
def test_whole_files_are_counted_and_none_is_named() -> None:
    assert verify_data() == (0, "4 whole\n", [])
    assert (
        verify_data("--json")[1]
        == json.dumps(
            {
                "files": 4,
                "whole": 4,
                "expired": 0,
                "damaged": 0,
                "missing": 0,
                "other": 0,
                "faults": [],
                "error": None,
            }
        )
        + "\n"
    )


def test_files_that_cannot_be_served_are_named_and_read_again_by_the_next_import(
    source: Path,
) -> None:
    for path in ("in/small.txt", "in/odd\n.bin"):
        damage(file_of(path))
    with file_of("large.bin").open("ab") as file:
        file.write(b"more")
    read_file.invalidate(*version_of(row("in/other.bin")))
    status, out, err = verify_data()
    assert (status, out) == (3, "0 whole, 3 damaged, 1 missing\n")
    removed = "is damaged, and was removed; its source is"
    assert sorted(err) == [
        "4 of 4 files cannot be served before they are read again: import their sources again",
        f"site/in/odd\\n.bin: {removed} {source}/in/odd\\n.bin",
        f"site/in/other.bin: is not stored; its source is {source}/in/other.bin",
        f"site/in/small.txt: {removed} {source}/in/small.txt",
        f"site/large.bin: {removed} {source}/large.bin",
    ]
    status, out, _ = verify_data("--json")
    found: dict[str, Any] = json.loads(out)
    assert (status, found["missing"]) == (3, 4)
    assert {"path": "site/large.bin", "source": f"{source}/large.bin"}.items() <= max(
        found["faults"], key=lambda fault: fault["size"]
    ).items()
    assert import_data(source, "--into=site").startswith("4 imported, 0 unchanged, 0 failed")
    assert verify_data()[0] == 0
    assert {path: len(content) for path, content in contents().items()} == {
        f"site/{path}": size for path, size in SIZES.items()
    }


def test_a_row_that_describes_other_content_is_named_and_mended(source: Path) -> None:
    ImportedFile.objects.filter(path="site/large.bin").update(digest="0" * 64)
    status, out, err = verify_data()
    assert (status, out) == (3, "3 whole, 1 other\n")
    assert err[0].startswith("site/large.bin: is stored with other content than when it was import")
    assert import_data(source, "--into=site").startswith("1 imported, 3 unchanged, 0 failed")
    assert verify_data()[0] == 0


@pytest.mark.usefixtures("source")
def test_expired_content_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = dataclasses.replace(read_file.policy, expire=1e-9)
    monkeypatch.setattr(read_file, "_policy", policy)
    assert verify_data() == (0, "0 whole, 4 expired\n", [])
