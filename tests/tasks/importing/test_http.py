"""The import over HTTP, from a server with ranges, validators and faults."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from beakercache import cache
from tasks.importing import manifests
from tasks.models import ImportedFile
from tasks.sources import versions
from tasks.sources.fetching import trying
from tasks.sources.fetching.downloads import Download
from tasks.sources.fetching.urls import checked, redirected
from tasks.sources.progress import Progress
from tests.tasks.importing.test_command import run
from tests.tasks.importing.test_import import contents, import_data
from tests.tasks.origin import Fault, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)

LARGE = random.Random(1).randbytes(1_000_000)


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    monkeypatch.setattr(trying, "_FIRST_PAUSE", 0.01)
    server = Origin()
    server.files = {"a.txt": b"first", "in/b.png": b"\x89PNG", "in/empty": b""}
    yield server
    server.stop()


def failures(source: str, *options: str) -> list[str]:
    """Return the lines of failure of the command."""
    with pytest.raises(CommandError) as raised:
        import_data(source, *options)
    return str(raised.value).splitlines()


# -- one file -------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ['"one"', 'W/"one"', None])
def test_a_url_is_imported_and_not_sent_again_until_it_changes(
    origin: Origin, tag: str | None
) -> None:
    origin.tags["a.txt"] = tag
    url = origin.url("a.txt?key=1#part")
    assert import_data(url).startswith("1 imported, 0 unchanged, 0 failed; 5 bytes read")
    assert import_data(url).startswith("0 imported, 1 unchanged, 0 failed; 0 bytes read")
    first, second = origin.asked("a.txt")
    assert (first.status, second.status, second.sent) == (200, 304, 0)
    assert "if-none-match" not in first.headers
    origin.files["a.txt"] = b"second"
    origin.tags["a.txt"] = tag and tag.replace("one", "two")
    origin.dates["a.txt"] = formatdate(1, usegmt=True)
    assert import_data(url).startswith("1 imported, 0 unchanged, 0 failed; 6 bytes read")
    assert contents() == {"a.txt": b"second"}
    row = ImportedFile.objects.get()
    assert (row.source, row.root, row.size) == (origin.url("a.txt?key=1"),) * 2 + (6,)


def test_a_url_in_capitals_is_the_same_source_also_when_it_is_gone(origin: Origin) -> None:
    url = origin.url("a.txt")
    import_data(url)
    in_capitals = url.replace("http:", "HTTP:")
    assert import_data(in_capitals).startswith("0 imported, 1 unchanged")
    del origin.files["a.txt"]
    assert "1 kept" in import_data(in_capitals, "--keep")


def test_content_that_the_region_has_lost_is_requested_without_a_condition(origin: Origin) -> None:
    import_data(origin.url("a.txt"))
    cache.invalidate_region("files")
    assert import_data(origin.url("a.txt")).startswith("1 imported")
    assert contents() == {"a.txt": b"first"}


def test_content_of_an_unannounced_size_is_imported(origin: Origin) -> None:
    origin.lengths = False
    origin.files["a.txt"] = LARGE
    import_data(origin.url("a.txt"))
    assert contents() == {"a.txt": LARGE}
    assert len(origin.requests) == 1
    assert import_data(origin.url("a.txt")).startswith("0 imported, 1 unchanged")


def test_without_validators_everything_is_requested_each_time(origin: Origin) -> None:
    fault = Fault(headers={"ETag": "", "Last-Modified": ""})
    for content in (b"first", b"other"):
        origin.files["a.txt"] = content
        origin.fail("a.txt", fault)
        assert import_data(origin.url("a.txt")).startswith("1 imported")
        assert contents() == {"a.txt": content}


def test_redirects_are_followed_and_the_row_keeps_the_requested_url(origin: Origin) -> None:
    origin.redirects = {"latest": "/moved/", "moved/": origin.url("a.txt")}
    import_data(origin.url("latest"))
    assert contents() == {"latest": b"first"}
    assert ImportedFile.objects.get().source == origin.url("latest")


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("/loop", "is redirected more than 10 times"),
        ("file:///etc/passwd", "has the scheme 'file'"),
        ("http://user:secret@127.0.0.1/", "has a user name or password"),
        ("", "is redirected without an address"),
    ],
)
def test_a_redirect_to_a_bad_target_is_refused(origin: Origin, target: str, complaint: str) -> None:
    origin.redirects["loop"] = target
    (line,) = failures(origin.url("loop"))
    assert complaint in line
    assert "secret" not in line


def test_a_redirect_to_https_is_followed_and_one_to_http_is_not() -> None:
    assert redirected("http://a.test/x", "https://a.test/y") == "https://a.test/y"
    with pytest.raises(ValueError, match="from https to http"):
        redirected("https://a.test/x", "http://a.test/x")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://user:secret@127.0.0.1/a", "has a user name or password in it"),
        ("http:///a", "names no host"),
        ("http://[::1/a", "is no URL"),
        ("http://a b/c", "is no URL"),
        ("http://a..b/c", "is no URL"),
        ("http://127.0.0.1/folder/", "names no file"),
        ("http://127.0.0.1/..%2fa", "names no file"),
    ],
)
def test_a_url_that_cannot_be_fetched_is_reported(url: str, complaint: str) -> None:
    (line,) = failures(url)
    assert complaint in line
    assert "secret" not in line
    assert url.replace("user:secret", "…") in line


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTP://A.test", "http://a.test/"),
        ("http://a.test:80/b c?d=ü#e", "http://a.test:80/b%20c?d=%C3%BC"),
        ("http://a.test/%c3%bc/100%/[b]\udce9", "http://a.test/%C3%BC/100%25/%5Bb%5D%E9"),
        ("http://grün.test/a", "http://xn--grn-ioa.test/a"),
        ("http://[::1]:8000?a", "http://[::1]:8000/?a"),
    ],
)
def test_a_url_has_one_form(url: str, normal: str) -> None:
    assert checked(url) == normal
    assert checked(normal) == normal


def test_a_source_that_cannot_be_opened_is_reported_as_json(origin: Origin) -> None:
    status, (line,), err = run(origin.url("gone"), "--json")
    assert status == 1
    assert json.loads(line)["error"] == f"'{origin.url('gone')}' cannot be imported: 404 Not Found"
    assert len(err) == 1


def test_encoded_content_is_refused(origin: Origin) -> None:
    origin.fail("a.txt", Fault(headers={"Content-Encoding": "gzip"}))
    (line,) = failures(origin.url("a.txt"))
    assert line.endswith("cannot be imported: comes encoded (gzip), which was not asked for")
    assert origin.requests[0].headers["accept-encoding"] == "identity"


# -- a manifest -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SHA256SUMS", "sha256sum.txt", "all.sha256", "x.SHA256SUMS"])
def test_the_files_beside_a_manifest_are_imported(origin: Origin, name: str) -> None:
    assert import_data(origin.manifest(name)).startswith("3 imported, 0 unchanged, 0 failed; 9 b")
    assert contents() == {"a.txt": b"first", "in/b.png": b"\x89PNG", "in/empty": b""}
    assert ImportedFile.objects.get(path="in/b.png").root == origin.url(name)


def test_a_second_run_requests_only_the_manifest(origin: Origin) -> None:
    url = origin.manifest()
    import_data(url)
    asked = len(origin.requests)
    assert import_data(url).startswith("0 imported, 3 unchanged, 0 failed; 0 bytes read")
    (again,) = origin.requests[asked:]
    assert (again.path, again.status) == ("SHA256SUMS", 304)
    origin.files["a.txt"] = b"second"
    origin.manifest()
    assert import_data(url).startswith("1 imported, 2 unchanged, 0 failed; 6 bytes read")
    assert [request.path for request in origin.requests[asked + 1 :]] == ["SHA256SUMS", "a.txt"]
    assert contents()["a.txt"] == b"second"


def test_names_in_the_form_of_sha256sum_are_read(origin: Origin) -> None:
    names = ["a b?c#d%20", "new\nline", "back\\slash", "*star", " ", "caf\udce9", "\N{SNOWMAN}"]
    origin.files = {name: name.encode(errors="surrogateescape") for name in names}
    lines = []
    for name, content in origin.files.items():
        escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
        mark = "\\" if escaped != name else ""
        lines.append(f"{mark}{hashlib.sha256(content).hexdigest().upper()} *./{escaped}\r\n")
    text = "# made by hand\n\n" + "".join(lines)
    origin.files["SHA256SUMS"] = text.encode(errors="surrogateescape")
    import_data(origin.url("SHA256SUMS"))
    assert sorted(contents().values()) == sorted(
        name.encode(errors="surrogateescape") for name in names
    )


def test_names_outside_the_manifests_folder_are_refused(origin: Origin) -> None:
    digest = hashlib.sha256(b"first").hexdigest()
    names = ["a.txt", "../up", "/etc/passwd", "in/../../up", "http://a.test/x", "a//b", "./a.txt"]
    text = "".join(f"{digest}  {name}\n" for name in names) + "nonsense\n"
    origin.files["SHA256SUMS"] = text.encode()
    assert failures(origin.url("SHA256SUMS")) == [
        "../up: would lie outside of the source",
        "/etc/passwd: would lie outside of the source",
        "in/../../up: would lie outside of the source",
        "http://a.test/x: would lie outside of the source",
        "a//b: has a name that no file can have",
        "a.txt: is in the manifest more than once; the first is taken",
        "nonsense: is not a line of a manifest",
        "7 of 8 files were not imported",
    ]
    assert contents() == {"a.txt": b"first"}
    assert {request.path for request in origin.requests} == {"SHA256SUMS", "a.txt"}


HEX = hashlib.sha256(b"first").hexdigest()
LISTED = f"{HEX}  a.txt\n"
SIGNATURE = "-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n"
SIGNED = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{LISTED}{SIGNATURE}"


@pytest.mark.parametrize(
    "text",
    [
        LISTED.encode("utf-8-sig"),
        LISTED.replace("\n", "\r\n").encode("utf-16"),
        "\ufeff".encode("utf-16-be") + LISTED.encode("utf-16-be"),
        SIGNED.encode(),
        SIGNED.replace("\n", "\r\n").encode(),
        SIGNED.replace(LISTED, f"- -----\n# x\n{LISTED}").encode(),
        f"SHA256 (a.txt) = {HEX}\n".encode(),
        f"SHA256(a.txt)= {HEX}\n".encode(),
        f"SHA2-256(a.txt)= {HEX}\n".encode(),
        f"MD5 (a.txt) = 0123\nSHA512 (a.txt) = {HEX}{HEX}\nSHA256 (a.txt) = {HEX}\n".encode(),
        f"\\SHA256 (./a.txt) = {HEX}\n".encode(),
    ],
)
def test_all_forms_of_manifests_are_read(origin: Origin, text: bytes) -> None:
    origin.files["SHA256SUMS"] = text
    if b"- -----" in text:
        assert failures(origin.url("SHA256SUMS"))[0] == "-----: is not a line of a manifest"
    else:
        import_data(origin.url("SHA256SUMS"))
    assert contents() == {"a.txt": b"first"}


@pytest.mark.parametrize(
    "text", [b"", b"0123  a.txt\n", b"f" * 65 + b"\n", b"<html>", b"\xff\xfe1", b"\xff\xfe\0\xd8"]
)
def test_a_file_that_is_a_manifest_only_by_name_is_an_error(origin: Origin, text: bytes) -> None:
    origin.files["x.sha256"] = text
    (line,) = failures(origin.url("x.sha256"))
    assert "'/x.sha256' cannot be imported: is named like a manifest" in line.replace(
        origin.url(""), "/"
    )
    assert contents() == {}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([HEX, "  ", "SHA256 (", ") = ", "- ", "\\", "(", "\n", "a", SIGNED]))
)
@example(["SHA256 (", *[") = "] * 50_000])
@example(["\\", "A" * 100_000])
@example([HEX, "  ", "./" * 100_000])
def test_every_manifest_is_read_quickly(pieces: list[str]) -> None:
    began = time.monotonic()
    with contextlib.suppress(manifests.BadManifestError):
        for line in manifests.parse("".join(pieces).encode()):
            assert line.refusal or line.digest
    assert time.monotonic() - began < 30


def test_content_with_another_digest_is_reported_and_not_stored(origin: Origin) -> None:
    url = origin.manifest()
    origin.fail("a.txt", Fault(replace=lambda body: b"FIRST"))
    lines = failures(url)
    found, expected = (hashlib.sha256(text).hexdigest() for text in (b"FIRST", b"first"))
    assert lines == [
        f"a.txt: has the SHA-256 {found}, and should have {expected}",
        "1 of 3 files were not imported",
    ]
    assert set(contents()) == {"in/b.png", "in/empty"}
    assert import_data(url).startswith("1 imported, 2 unchanged")
    assert contents()["a.txt"] == b"first"


def test_the_options_of_an_import_work_for_urls(origin: Origin) -> None:
    url = origin.manifest()
    assert import_data(url, "--include=in/*", "--exclude=*.png").startswith("1 imported, 0 unch")
    assert not origin.asked("a.txt")
    assert "2 imported, 1 unchanged" in import_data(url, "--dry-run")
    assert set(contents()) == {"in/empty"}
    import_data(url)
    assert import_data(url, "--force").startswith("3 imported, 0 unchanged, 0 failed; 9 bytes")
    del origin.files["a.txt"]
    origin.manifest()
    assert ", 1 forgotten;" in import_data(url, "--prune")
    assert set(contents()) == {"in/b.png", "in/empty"}


# -- faults ---------------------------------------------------------------------------------


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    size=st.integers(0, 300_000),
    cuts=st.lists(st.integers(0, 200_000), max_size=4),
    ranges=st.booleans(),
    tag=st.sampled_from(['"strong"', 'W/"weak"', None]),
    by_digest=st.booleans(),
    have=st.integers(0, 300_000),
)
@example(size=65_536, cuts=[65_536], ranges=True, tag='"strong"', by_digest=False, have=65_536)
@example(size=10, cuts=[0, 9, 0, 0], ranges=True, tag='"strong"', by_digest=False, have=0)
def test_a_download_is_complete_wherever_it_is_interrupted(
    origin: Origin,
    size: int,
    cuts: list[int],
    ranges: bool,
    tag: str | None,
    by_digest: bool,
    have: int,
) -> None:
    content = LARGE[:size]
    origin.files["x"], origin.tags["x"], origin.ranges = content, tag, ranges
    origin.faults.clear()
    origin.fail("x", *(Fault(cut_after=cut) for cut in cuts))
    digest = hashlib.sha256(content).hexdigest()
    headers = {"ETag": tag or "", "Last-Modified": formatdate(0, usegmt=True)}
    version = versions.of_digest(digest) if by_digest else versions.of_answer(headers)
    # The part that a former transfer left: the beginning of the same content.
    there = bytearray(LARGE[: min(have, size)] if by_digest or tag == '"strong"' else b"")
    download = Download(origin.url("x"), None, version, Progress(), tries=5)
    origin.requests.clear()
    for position, piece in download.pieces(len(there)):
        assert position in (0, len(there))
        del there[position:]
        there += piece
    assert bytes(there) == content
    download.verify(len(there), digest)
    for request in origin.requests:
        assert request.range is None or by_digest or request.headers["if-range"] == '"strong"'


def test_an_interrupted_download_continues_where_it_stopped(origin: Origin) -> None:
    origin.files = {"large": LARGE}
    origin.fail("large", Fault(cut_after=300_000), Fault(cut_after=300_000))
    assert import_data(origin.manifest()).startswith("1 imported, 0 unchanged, 0 failed; 976.6 KB")
    assert contents() == {"large": LARGE}
    first, *others = origin.asked("large")
    assert [request.range for request in others] == ["bytes=300000-", "bytes=600000-"]
    assert {request.headers["if-range"] for request in others} == {origin.tag_of("large")}
    assert [first.status, *(request.status for request in others)] == [200, 206, 206]


def test_content_that_changes_during_a_download_is_downloaded_again(origin: Origin) -> None:
    origin.files = {"large": LARGE}
    former = Fault(cut_after=300_000, replace=lambda body: body[::-1], headers={"ETag": '"former"'})
    origin.fail("large", former)
    import_data(origin.manifest())
    assert contents() == {"large": LARGE}
    _, again = origin.asked("large")
    assert (again.headers["if-range"], again.status) == ('"former"', 200)


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"other"'},
        {"Content-Range": "bytes 7-999999/1000000"},
        {"Content-Range": "nonsense"},
    ],
)
def test_a_part_of_other_content_is_not_joined(origin: Origin, headers: dict[str, str]) -> None:
    origin.files = {"large": LARGE}
    origin.fail(
        "large", Fault(cut_after=300_000), Fault(headers=headers, replace=lambda b: b[::-1])
    )
    import_data(origin.url("large"))
    assert contents() == {"large": LARGE}
    assert [request.status for request in origin.asked("large")] == [200, 206, 200]


def test_a_url_that_changes_during_a_download_is_reported_and_imported_by_the_next_run(
    origin: Origin,
) -> None:
    origin.files = {"large": LARGE}
    origin.fail("large", Fault(cut_after=300_000, headers={"ETag": '"before"'}))
    assert failures(origin.url("large"))[0] == "large: has changed at its origin; import it again"
    import_data(origin.url("large"))
    assert contents() == {"large": LARGE}


def test_a_busy_server_is_asked_again_after_the_time_it_names(origin: Origin) -> None:
    url = origin.manifest()
    busy = {"Retry-After": "0"}
    origin.fail("SHA256SUMS", Fault(status=503, headers=busy))
    origin.fail("a.txt", Fault(status=429, headers=busy), Fault(status=500), Fault(cut_after=0))
    origin.fail("in/b.png", Fault(status=503, headers={"Retry-After": "86400"}))
    assert failures(url) == [
        "in/b.png: 503 Service Unavailable",
        "1 of 3 files were not imported",
    ]
    assert contents() == {"a.txt": b"first", "in/empty": b""}
    assert import_data(url).startswith("1 imported, 2 unchanged")


def test_a_failed_file_stops_no_other_and_the_next_run_imports_it(origin: Origin) -> None:
    origin.files |= {f"{number:03}": str(number).encode() for number in range(40)}
    url = origin.manifest()
    gone = origin.files.pop("007")
    origin.fail("a.txt", *[Fault(status=502)] * 6)
    lines = failures(url)
    assert sorted(lines[:2]) == ["007: 404 Not Found", "a.txt: 502 Bad Gateway"]
    assert lines[2:] == ["2 of 43 files were not imported"]
    assert len(origin.asked("a.txt")) == 6
    assert len(contents()) == 41
    origin.files["007"] = gone
    assert import_data(url).startswith("2 imported, 41 unchanged")


@pytest.mark.parametrize("claim", ["4", "6"])
def test_content_whose_length_differs_from_the_header_is_refused(
    origin: Origin, claim: str
) -> None:
    url = origin.manifest()
    origin.fail("a.txt", *[Fault(headers={"Content-Length": claim}, cut_after=5)] * 20)
    assert re.match(r"a\.txt: (has the SHA-256 |broke off after 5 of 6|the conn)", failures(url)[0])
    assert set(contents()) == {"in/b.png", "in/empty"}


def test_an_unavailable_server_is_named(origin: Origin) -> None:
    origin.stop()
    (line,) = failures(origin.url("a.txt"))
    assert line == f"'{origin.url('a.txt')}' cannot be imported: Connection refused"
