"""Manifests of every kind of digest, at URLs and on disk."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError

from beakercache import cache
from tasks.importing.manifests import is_manifest_name
from tasks.models import ImportedFile
from tests.tasks.importing.test_http import LARGE, SIGNED, failures, origin
from tests.tasks.importing.test_import import contents, import_data
from tests.tasks.origin import Fault, Origin

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["origin"]

FILES = {"a.txt": b"first", "in/b": b"second"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def digest(kind: str, content: bytes) -> str:
    return hashlib.new(kind, content).hexdigest()


def listed(kind: str, form: str = "{digest}  {name}\n") -> bytes:
    lines = [form.format(digest=digest(kind, text), name=name) for name, text in FILES.items()]
    return "".join(lines).encode()


@pytest.mark.parametrize(
    ("name", "kind", "form"),
    [
        ("SHA512SUMS", "sha512", "{digest}  {name}\n"),
        ("MD5SUMS", "md5", "{digest} *./{name}\n"),
        ("tool_1.2_checksums.txt", "sha256", "{digest}  {name}\n"),
        ("checksums.txt", "sha1", "{digest}  {name}\n"),
        ("Fedora-40-CHECKSUM", "sha256", "SHA256 ({name}) = {digest}\n"),
        ("B2SUMS", "blake2b", "{digest}  {name}\n"),
        ("x.sha384.txt", "sha384", "SHA384({name})= {digest}\n"),
    ],
)
def test_every_kind_of_digest_is_verified(
    origin: Origin, name: str, kind: str, form: str, folder: Path
) -> None:
    origin.files = {**FILES, name: listed(kind, form)}
    assert import_data(origin.url(name), "--into=web").startswith("2 imported")
    assert import_data(origin.url(name), "--into=web").startswith("0 imported, 2 unchanged")
    cache.invalidate_region("files")
    origin.fail("a.txt", Fault(replace=lambda body: b"FIRST"))
    assert (
        f"and should have {digest(kind, b'first')}" in failures(origin.url(name), "--into=web")[0]
    )
    # The same on disk.
    (folder / name).write_bytes(listed(kind, form))
    assert import_data(folder / name).startswith("2 imported")
    assert import_data(folder / name).startswith("0 imported, 2 unchanged, 0 failed; 0 bytes")
    cache.invalidate_region("files")
    (folder / "a.txt").write_bytes(b"FIRST")
    assert f"and should have {digest(kind, b'first')}" in failures(str(folder / name))[0]


def test_a_broken_transfer_is_verified_whole(origin: Origin) -> None:
    origin.files = {"large": LARGE, "MD5SUMS": f"{digest('md5', LARGE)}  large\n".encode()}
    origin.fail("large", Fault(cut_after=300_000), Fault(cut_after=100_000))
    import_data(origin.url("MD5SUMS"))
    assert origin.asked("large")[-1].range is not None
    assert contents() == {"large": LARGE}


def test_a_transfer_of_a_former_run_is_begun_again(origin: Origin) -> None:
    """Its bytes were not added to the digest."""
    origin.files = {"large": LARGE, "MD5SUMS": f"{digest('md5', LARGE)}  large\n".encode()}
    origin.fail("large", Fault(cut_after=300_000), Fault(status=404))
    assert failures(origin.url("MD5SUMS"))[0] == "large: 404 Not Found"
    import_data(origin.url("MD5SUMS"))
    assert contents() == {"large": LARGE}


@pytest.mark.parametrize("text", ["{}\n", "{}  -\n", "{}", "{}  dist/build/a.txt\n", "{} *a.txt"])
def test_a_manifest_of_one_file_is_named_for_it(folder: Path, text: str) -> None:
    (folder / "a.txt.sha256").write_text(text.format(digest("sha256", b"first")))
    import_data(folder / "a.txt.sha256")
    assert contents() == {"a.txt": b"first"}
    (folder / "a.txt").write_bytes(b"other")
    cache.invalidate_region("files")
    assert "has the SHA-256" in failures(str(folder / "a.txt.sha256"))[0]


def test_the_best_digest_of_a_file_counts(folder: Path) -> None:
    wrong = "0" * 32
    lines = f"{wrong}  a.txt\n{digest('sha256', b'first')}  a.txt\n{wrong}  a.txt\n"
    (folder / "checksums.txt").write_text(lines + "SHA3-256 (in/b) = " + "0" * 64)
    assert failures(str(folder / "checksums.txt"))[0] == (
        "in/b: has no digest of a kind that is known"
    )
    assert contents() == {"a.txt": b"first"}


def test_the_output_of_sha256sum_is_read(folder: Path) -> None:
    for options in ([], ["--tag"]):
        command = ["sha256sum", *options, "a.txt", "in/b"]
        text = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
        (folder / "SHA256SUMS").write_bytes(text)
        import_data(folder / "SHA256SUMS", "--force")
        assert contents() == FILES


@pytest.mark.parametrize("text", [SIGNED, "\ufeff" + SIGNED])
def test_a_signed_manifest_on_disk_is_read(folder: Path, text: str) -> None:
    (folder / "SHA256SUMS.asc").write_text(text)
    import_data(folder / "SHA256SUMS.asc")
    assert contents() == {"a.txt": b"first"}


def test_links_out_of_the_folder_and_missing_files_are_refused(folder: Path) -> None:
    (folder / "in" / "link").symlink_to("../a.txt")
    names = ["link", "b", "gone"]
    lines = [f"{digest('sha256', FILES['a.txt'])}  {name}\n" for name in names]
    (folder / "in" / "SHA256SUMS").write_text("".join(lines))
    said = failures(str(folder / "in" / "SHA256SUMS"))
    assert "link: is a link out of the source" in said
    assert "gone: No such file or directory" in said
    assert contents() == {}


def test_a_file_that_only_has_a_manifests_name_is_an_error_or_a_file(folder: Path) -> None:
    (folder / "checksums.txt").write_bytes(b"none")
    with pytest.raises(CommandError, match=r"is named like a manifest, but .*--as-file"):
        import_data(folder / "checksums.txt")
    import_data(folder / "checksums.txt", "--as-file")
    assert contents() == {"checksums.txt": b"none"}
    assert ImportedFile.objects.get().root == str(folder)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("SHA256SUMS", True),
        ("ubuntu-24.04-SHA256SUMS.txt", True),
        ("sha256sum.txt", True),
        ("x.tgz.sha512", True),
        ("a.md5", True),
        ("CHECKSUMS", True),
        ("SHA256SUMS.gpg", False),
        ("x.sha256.sig", False),
        ("sums.txt", False),
        ("sha.py", False),
        ("checksum.py", False),
        ("md5", False),
        ("summary.txt", False),
    ],
)
def test_names_of_manifests(name: str, is_one: bool) -> None:
    assert is_manifest_name(name) is is_one
