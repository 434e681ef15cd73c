"""Sources that fsspec knows, on a real S3 server and a real SFTP server."""

from __future__ import annotations

import hashlib
import os
import random
import sys
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from django.core.management import CommandError

from beakercache import cache
from tasks.files.content import ContentUnavailableError, content_of
from tasks.files.index import file_row
from tasks.models import ImportedFile, ImportRun
from tasks.sources import remote
from tasks.sources.fetching.errors import TemporaryError
from tasks.sources.fetching.trying import Tries
from tests.tasks.importing.storage import S3Server, SftpServer
from tests.tasks.importing.test_archives import FILES, pack
from tests.tasks.importing.test_command import run
from tests.tasks.importing.test_http import failures
from tests.tasks.importing.test_import import contents, import_data
from tests.tasks.importing.test_renewing import expire
from tests.tasks.importing.test_url_lists import import_list

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tasks.files.index import FileRow

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["expire"]

LARGE = random.Random(4).randbytes(9 << 20)
"""More than is asked for at once."""


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of an S3 server, which the environment names."""
    server = S3Server()
    server.start()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{server.address}")
        environment.setenv("AWS_ACCESS_KEY_ID", "me")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "hushed")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield fsspec.filesystem("s3", use_listings_cache=False)
    server.kill()


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> str:
    """An empty bucket of the server."""
    name = f"bucket-{abs(hash(request.node.name))}"
    s3.mkdir(name)
    return name


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    server = SftpServer(tmp_path_factory.mktemp("sftp"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def sftp(server: SftpServer, monkeypatch: pytest.MonkeyPatch) -> SftpServer:
    """An SFTP server that this user knows, and may enter with a key."""
    monkeypatch.setenv("HOME", str(server.home))
    return server


def row_of(path: str) -> FileRow:
    row = file_row(ImportedFile.objects.get(path=path).pk)
    assert row is not None
    return row


def test_a_bucket_is_imported_and_asked_for_changes(s3: Any, bucket: str) -> None:
    for path, content in {"a.txt": b"first", "in/b #1.txt": b"second", "in/large": LARGE}.items():
        s3.pipe_file(f"{bucket}/files/{path}", content)
    s3.pipe_file(f"{bucket}/other", b"beside")
    s3.pipe_file(f"{bucket}/files/in/bad//name", b"")
    status, out, err = run(f"s3://{bucket}/files/")
    assert (status, out[-1][:11]) == (3, "3 imported,")
    assert err[0] == "in/bad: has a name that no file can have"
    expected = {"a.txt": b"first", "in/b #1.txt": b"second", "in/large": LARGE}
    assert contents() == expected
    assert row_of("in/b #1.txt").source == f"s3://{bucket}/files/in/b #1.txt"
    s3.rm(f"{bucket}/files/in/bad//name")
    s3.pipe_file(f"{bucket}/files/a.txt", b"other")
    line = import_data(f"s3://{bucket}/files", "--exclude=in/b*", "--jobs=1")
    assert line.startswith("1 imported, 1 unchanged, 0 failed; 5 bytes read")
    s3.rm(f"{bucket}/files/in/large")
    assert ", 1 forgotten" in import_data(f"s3://{bucket}/files", "--prune", "--jobs=1")
    assert contents() == {"a.txt": b"other", "in/b #1.txt": b"second"}
    s3.rm(f"{bucket}/files", recursive=True)
    assert ", 2 kept" in import_data(f"s3://{bucket}/files/", "--keep")


def test_two_colons_in_a_name_are_no_chain_of_urls(s3: Any, bucket: str, tmp_path: Path) -> None:
    s3.pipe_file(f"{bucket}/a", b"first")
    s3.pipe_file(f"{bucket}/in/a::b.txt", b"second")
    s3.pipe_file(f"{bucket}/in/a", b"third")
    (tmp_path / "list").write_text(f"s3://{bucket}/in/a::b.txt\ns3://{bucket}/a::gone")
    status, _, err = import_list(tmp_path / "list", "--jobs=1")
    assert (status, err[0][:19]) == (3, "a::gone: No such fi")
    assert contents() == {"a::b.txt": b"second"}
    import_data(f"s3://{bucket}/in", "--into=in", "--jobs=1")
    assert contents() == {"a::b.txt": b"second", "in/a::b.txt": b"second", "in/a": b"third"}


@pytest.mark.usefixtures("expire")
def test_a_file_an_archive_and_a_manifest_of_a_bucket(s3: Any, bucket: str, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"first").hexdigest()
    s3.pipe_file(f"{bucket}/a.txt", b"first")
    s3.pipe_file(f"{bucket}/b.txt", b"second")
    s3.pipe_file(f"{bucket}/SHA256SUMS", f"{digest}  a.txt\n{digest}  b.txt\n".encode())
    s3.pipe_file(f"{bucket}/a.zip", pack(tmp_path, "zip", FILES).read_bytes())
    import_data(f"s3://{bucket}/b.txt", "--name=c.txt")
    assert import_data(f"s3://{bucket}/b.txt", "--name=c.txt").startswith("0 imported, 1 unch")
    import_data(f"s3://{bucket}/a.zip", "--into=zip")
    assert import_data(f"s3://{bucket}/a.zip", "--into=zip").startswith("0 imported, 3 unch")
    status, out, err = run(f"s3://{bucket}/SHA256SUMS", "--into=sums", "--jobs=1")
    assert (status, out[-1][:11]) == (3, "1 imported,")
    assert "b.txt: has the SHA-256 " in err[0]
    inside = {f"zip/{path}": content for path, content in FILES.items()}
    assert contents() == {"c.txt": b"second", "sums/a.txt": b"first", **inside}
    assert "hushed" not in str(
        list(ImportedFile.objects.values()) + list(ImportRun.objects.values())
    )


def test_an_object_that_changed_or_is_gone_is_unavailable(s3: Any, bucket: str) -> None:
    s3.pipe_file(f"{bucket}/a.txt", b"first")
    import_data(f"s3://{bucket}/a.txt")
    cache.invalidate_region("files")
    assert content_of(row_of("a.txt")).read_bytes() == b"first"
    cache.invalidate_region("files")
    s3.pipe_file(f"{bucket}/a.txt", b"other")
    with pytest.raises(ContentUnavailableError, match="has changed at its origin"):
        content_of(row_of("a.txt"))
    assert "No such file" in failures(f"s3://{bucket}/gone")[0]


@pytest.mark.slow
def test_a_list_may_name_objects(s3: Any, bucket: str, tmp_path: Path) -> None:
    s3.pipe_file(f"{bucket}/a.txt", b"first")
    s3.pipe_file(f"{bucket}/in/b.txt", b"second")
    lines = [f"s3://{bucket}/a.txt", f"s3://{bucket}/in/b.txt c.txt", f"s3://{bucket}/in"]
    (tmp_path / "list").write_text("\n".join(lines))
    status, out, err = import_list(tmp_path / "list", "--jobs=1")
    assert (status, out[-1][:11]) == (3, "2 imported,")
    assert err[0] == "in: is a directory, not a file"
    assert contents() == {"a.txt": b"first", "c.txt": b"second"}
    assert " 2 unchanged, " in import_list(tmp_path / "list", "--jobs=1")[1][-1]


def test_a_folder_of_an_sftp_server(
    sftp: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    (source / "in").mkdir(parents=True)
    (source / "a.txt").write_bytes(b"first")
    (source / "in" / "large").write_bytes(LARGE)
    (source / "in" / "empty").write_bytes(b"")
    (source / "link").symlink_to("a.txt")
    (source / "a?b").write_bytes(b"")
    status, _, err = run(sftp.url(source))
    assert status == 3
    assert err[:2] == ["a?b: has a name that a URL cannot have", "link: is a link, not a file"]
    assert contents() == {"a.txt": b"first", "in/large": LARGE, "in/empty": b""}
    (source / "a").write_bytes(b"another")
    said = failures(sftp.url(source / "a?b"), "--into=in")[0]
    assert "has a name that a URL of its kind cannot have" in said
    (source / "a").unlink()
    (source / "a?b").unlink()
    (source / "link").unlink()
    os.utime(source / "a.txt", (1, 1))
    line = import_data(sftp.url(source), "--jobs=1")
    assert line.startswith("1 imported, 2 unchanged, 0 failed; 5 bytes read")
    sftp.known_hosts.rename(sftp.home / "away")
    fsspec.get_filesystem_class("sftp").clear_instance_cache()
    try:
        assert "is not in ~/.ssh/known_hosts" in failures(sftp.url(source))[0]
    finally:
        (sftp.home / "away").rename(sftp.known_hosts)


@pytest.mark.slow
def test_an_interrupted_transfer_of_one_version_continues(
    s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.pipe_file(f"{bucket}/large", LARGE)
    chunks = remote.RemoteFile._chunks
    asked = []

    def broken(self: remote.RemoteFile, position: int) -> Iterator[bytes]:
        asked.append(position)
        for chunk in chunks(self, position):
            yield chunk
            if len(asked) < 3:
                raise TemporaryError("the server is away")

    monkeypatch.setattr(remote.RemoteFile, "_chunks", broken)
    monkeypatch.setattr(Tries, "pause", lambda *args: None)
    import_data(f"s3://{bucket}/large")
    assert asked == [0, 4 << 20, 8 << 20]
    assert contents() == {"large": LARGE}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sftp://me:hushed@127.0.0.1/a", "has a password in it"),
        ("file:///etc/passwd", "has the scheme 'file', which names no server"),
        ("git://site:main@secrets.txt", "has the scheme 'git', which names no server"),
        ("dvc://secrets.txt", "has the scheme 'dvc', which names no server"),
        ("gs://bucket/a", "needs a package that is not installed: Please install gcsfs"),
        ("unheard://a/b", "has a scheme that neither the import nor fsspec knows"),
        ("sftp://[::1/a", "is no URL"),
        ("a://b", "has a scheme that neither the import nor fsspec knows"),
        ("sftp://127.0.0.1:9/a", "127.0.0.1"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, said: str) -> None:
    (line,) = failures(url)
    assert said in line
    assert "hushed" not in line


def test_without_fsspec_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "fsspec"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CommandError, match=r"pip install fsspec"):
        import_data("s3://bucket/a")
