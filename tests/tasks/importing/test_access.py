"""Tokens, logins and certificate authorities of servers, and secrets in URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.importing import importer
from tasks.models import ImportedFile
from tests.tasks.importing.test_http import failures, origin
from tests.tasks.importing.test_import import contents, import_data
from tests.tasks.origin import Fault, Origin, encrypted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["origin"]


@pytest.fixture
def other() -> Iterator[Origin]:
    server = Origin()
    server.files = {"a.txt": b"other"}
    yield server
    server.stop()


def test_headers_go_to_the_server_of_the_source_only(
    origin: Origin, other: Origin, tmp_path: Path
) -> None:
    (tmp_path / "headers").write_text("Authorization: Bearer secret\nX-Other:  two words \n")
    origin.redirects["in/b.png"] = other.url("a.txt")
    origin.files = {"a.txt": b"first"}
    import_data(origin.url("a.txt"), f"--headers={tmp_path}/headers")
    headers = origin.asked("a.txt")[0].headers
    assert (headers["authorization"], headers["x-other"]) == ("Bearer secret", "two words")
    import_data(origin.url("in/b.png"), f"--headers={tmp_path}/headers")
    assert "authorization" in origin.asked("in/b.png")[0].headers
    assert "authorization" not in other.asked("a.txt")[0].headers
    import_data(origin.url("a.txt"))
    assert "authorization" not in origin.asked("a.txt")[-1].headers, "nothing is remembered"
    assert "is no URL" in failures("http://host:port/a", f"--headers={tmp_path}/headers")[0]


def test_logins_come_from_a_netrc_file(origin: Origin, tmp_path: Path) -> None:
    origin.fail("a.txt", Fault(status=401))
    assert (
        "401 Unauthorized; give the import a login with --netrc" in failures(origin.url("a.txt"))[0]
    )
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    import_data(origin.url("a.txt"), f"--netrc={tmp_path}/netrc")
    assert origin.asked("a.txt")[1].headers["authorization"] == "Basic bWU6c2VjcmV0"


@pytest.mark.parametrize(
    ("entry", "without_a_redirect"), [("machine 127.0.0.1", False), ("default", True)]
)
def test_a_login_goes_along_with_no_redirect_to_another_server(
    origin: Origin, tmp_path: Path, entry: str, without_a_redirect: bool
) -> None:
    (tmp_path / "netrc").write_text(f"{entry} login me password secret\n")
    other = Origin("127.0.0.2")
    other.files = {"a.txt": b"other"}
    origin.redirects["b.txt"] = other.url("a.txt")
    try:
        import_data(origin.url("b.txt"), f"--netrc={tmp_path}/netrc")
        import_data(other.url("a.txt"), "--into=in", f"--netrc={tmp_path}/netrc")
    finally:
        other.stop()
    assert "authorization" in origin.asked("b.txt")[0].headers
    found = ["authorization" in each.headers for each in other.requests]
    assert found == [False, without_a_redirect]


def test_headers_reach_a_server_from_every_process(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "_MANY", 2)
    (tmp_path / "headers").write_text("Authorization: Bearer secret")
    origin.files = {"a.txt": b"first", "b.txt": b"second", "c.txt": b"third"}
    import_data(origin.manifest(), f"--headers={tmp_path}/headers", "--jobs=2")
    assert len(origin.requests) == 4
    assert {each.headers.get("authorization") for each in origin.requests} == {"Bearer secret"}


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("--headers", "secret", "is no file of headers"),
        ("--headers", "A: b\nc", "is no file of headers"),
        ("--headers", "", "is no file of headers"),
        ("--headers", None, "cannot be read"),
        ("--netrc", "machine", "is no netrc file"),
        ("--netrc", None, "is no netrc file"),
        ("--ca", None, "is no file of certificates"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    origin: Origin, tmp_path: Path, option: str, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "file").write_text(text)
    (line,) = failures(origin.url("a.txt"), f"{option}={tmp_path}/file")
    assert said in line
    assert "secret" not in line
    assert not origin.requests


def test_an_authority_of_ones_own_is_trusted(origin: Origin, tmp_path: Path) -> None:
    certificate = encrypted(tmp_path, origin._server)
    url = origin.url("a.txt").replace("http:", "https:")
    assert "the certificate of another authority with --ca" in failures(url)[0]
    import_data(url, f"--ca={certificate}")
    assert contents() == {"a.txt": b"first"}


@pytest.mark.parametrize(
    "query", ["X-Amz-Signature=1", "a=b&token=x", "sig=%20", "x-goog-credential=", "Api-Key=1"]
)
def test_a_secret_in_a_query_is_refused_by_name(origin: Origin, query: str) -> None:
    (line,) = failures(f"{origin.url('a.txt')}?{query}")
    assert f"has a secret in its query ({query.split('&')[-1].partition('=')[0]!r})" in line
    assert not origin.requests
    assert not ImportedFile.objects.exists()


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_a_packed_file_that_is_called_encoded_is_kept_as_it_is(
    origin: Origin, encoding: str
) -> None:
    origin.files = {"a.tgz": b"\x1f\x8b packed"}
    origin.fail("a.tgz", Fault(headers={"Content-Encoding": encoding}))
    import_data(origin.url("a.tgz"), "--as-file")
    assert contents() == {"a.tgz": b"\x1f\x8b packed"}


def test_a_folder_of_a_server_is_no_file(origin: Origin) -> None:
    origin.files = {"in/": b"<html>"}
    origin.redirects["in"] = "/in/"
    assert "is a folder of its server; give the URL" in failures(origin.url("in"))[0]
