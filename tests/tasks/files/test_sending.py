"""Sending imported files: whole, in part or not at all, and the headers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beakercache import cache
from tests.tasks.files.conftest import address, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from django.test import Client

    from tests.tasks.files.conftest import Import

pytestmark = pytest.mark.django_db(transaction=True)

SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a.webp", "a.jpg"])
def test_images_are_shown(client: Client, imported: Import, name: str) -> None:
    imported({name: SVG})
    assert f'src="{address(name, "raw/")}"' in client.get(address(name)).content.decode()
    response = client.get(address(name, "raw/"))
    assert response["Content-Type"].startswith("image/")
    # In a page, a browser shows a picture whatever the headers of the picture say.
    assert response["Content-Disposition"].startswith("attachment" if "svg" in name else "inline")
    assert response.getvalue() == SVG


@pytest.mark.parametrize(
    ("name", "media_type", "inline"),
    [
        ("a.html", "text/html", False),
        ("a.svg", "image/svg+xml", False),
        ("a.js", "text/javascript", False),
        ("a.pdf", "application/pdf", False),
        ("a.xml", "application/xml", False),
        ("a.txt", "text/plain; charset=utf-8", True),
        ("a", "text/plain; charset=utf-8", True),
    ],
)
def test_content_is_never_active(
    client: Client, imported: Import, name: str, media_type: str, inline: bool
) -> None:
    imported({name: SVG})
    for page, shown in (("download/", False), ("raw/", inline)):
        response = client.get(address(name, page))
        assert response.getvalue() == SVG
        assert response["Content-Type"] in {media_type, media_type.replace("application", "text")}
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        assert response["Content-Disposition"].startswith("inline" if shown else "attachment")


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("folder/plain.txt", 'attachment; filename="plain.txt"'),
        ('say "hi".txt', 'attachment; filename="say \\"hi\\".txt"'),
        ("grün.txt", "attachment; filename*=utf-8''gr%C3%BCn.txt"),
        ("new\nline.txt", 'attachment; filename="new_line.txt"'),
    ],
)
def test_a_download_has_the_name_of_the_file(
    client: Client, imported: Import, name: str, header: str
) -> None:
    imported({name: b"content"})
    response = client.get(address(name, "download/"))
    assert response["Content-Disposition"] == header
    assert response["Content-Length"] == "7"
    assert response.getvalue() == b"content"


@pytest.mark.parametrize(
    ("text", "charset"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("latin-1", "windows-1252")],
)
def test_the_encoding_of_a_text_is_sent(
    client: Client, imported: Import, text: str, charset: str
) -> None:
    imported({"a.txt": "grün".encode(text)})
    response = client.get(address("a.txt", "raw/"))
    assert response["Content-Type"] == f"text/plain; charset={charset}"
    assert response.getvalue() == "grün".encode(text)


@pytest.mark.parametrize("page", ["download/", "raw/"])
def test_a_head_request_has_the_headers_and_no_content(
    client: Client, imported: Import, page: str
) -> None:
    imported({"a.txt": b"content"})
    response = client.get(address("a.txt", page))
    head = client.head(address("a.txt", page))
    assert (head.status_code, head.content) == (200, b"")
    assert dict(head.headers) == dict(response.headers)
    response.close()


@override_settings(X_ACCEL_REDIRECT="/protected/")
def test_nginx_sends_content_that_is_not_in_memory(client: Client, imported: Import) -> None:
    imported({"small.txt": b"content", "large.txt": b"content" * 10_000})
    large = client.get(address("large.txt", "download/"))
    assert large["X-Accel-Redirect"].startswith("/protected/content/")
    assert large.content == b""
    small = client.get(address("small.txt", "download/"))
    assert "X-Accel-Redirect" not in small
    assert small.getvalue() == b"content"
    part = client.get(address("small.txt", "download/"), headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.getvalue()) == (206, b"nte")


def test_content_in_the_browsers_cache_is_not_sent_again(client: Client, imported: Import) -> None:
    imported({"a.txt": b"first"})
    here = address("a.txt", "download/")
    tag = client.head(here)["ETag"]
    again = client.get(here, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)
    imported({"a.txt": b"second"})
    response = client.get(here, headers={"If-None-Match": tag})
    assert (response.status_code, response.getvalue()) == (200, b"second")


def test_expired_content_is_read_again_and_unavailable_content_has_an_error_page(
    client: Client, imported: Import, tmp_path: Path
) -> None:
    imported({"a.txt": b"first"})
    here = address("a.txt", "download/")
    cache.invalidate_region("files")
    response = client.get(here)
    assert response.getvalue() == b"first"
    cache.invalidate_region("files")
    (tmp_path / "a.txt").unlink()
    for page in ("", "download/", "raw/"):
        # The browser's copy does not count: neither the page nor the status is the file's.
        away = client.get(address("a.txt", page), headers={"If-None-Match": response["ETag"]})
        assert away.status_code == 404
        assert "The content of this file is no longer stored" in text_of(away)
        assert "a.txt" in text_of(away)
        assert "ETag" not in away
        assert client.head(address("a.txt", page)).status_code == 404
    imported({"a.txt": b"first"})
    assert client.get(here).getvalue() == b"first"


# -- parts ---------------------------------------------------------------------------------

SIZE = 40
CONTENT = bytes(range(SIZE))
numbers = st.integers(0, SIZE + 3) | st.integers(10**18, 10**25)


@pytest.fixture
def here(imported: Import) -> str:
    imported({"numbers.bin": CONTENT})
    return address("numbers.bin", "download/")


def answered(client: Client, where: str, asked: str, **headers: str) -> tuple[int, bytes, str]:
    """Return the status, body and Content-Range of the answer to a range request."""
    response = client.get(where, headers={"Range": asked, **headers})
    body = response.getvalue()
    if response.status_code != 416:
        assert response["Content-Length"] == str(len(body))
        assert response["Content-Disposition"] == 'attachment; filename="numbers.bin"'
    assert response["Accept-Ranges"] == "bytes"
    return response.status_code, body, response.get("Content-Range", "")


def test_every_range_is_answered_with_its_slice(client: Client, here: str) -> None:
    @settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=150)
    @given(st.none() | numbers, st.none() | numbers, st.sampled_from(["bytes=", "Bytes= ,"]))
    def check(first: int | None, last: int | None, unit: str) -> None:
        asked = f"{unit}{'' if first is None else first}-{'' if last is None else last}"
        if first is None:
            start, stop = SIZE - min(last or 0, SIZE), SIZE
        else:
            start, stop = first, SIZE if last is None else min(last + 1, SIZE)
        if (first is None and last is None) or (None not in (first, last) and first > last):  # type: ignore[operator]
            expected = (200, CONTENT, "")
        elif start >= SIZE:
            expected = (416, b"", f"bytes */{SIZE}")
        else:
            expected = (206, CONTENT[start:stop], f"bytes {start}-{stop - 1}/{SIZE}")
        assert answered(client, here, asked) == expected

    check()


def test_no_range_header_is_an_error(client: Client, here: str) -> None:
    pieces = st.sampled_from(["bytes", "=", "-", ",", " ", "0", "5", "39", "40", "x", "²", "\t"])

    @settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=150)
    @given(st.lists(pieces, max_size=8).map("".join) | st.text(st.characters(codec="latin-1")))
    def check(asked: str) -> None:
        status, body, part = answered(client, here, asked)
        if status == 206:
            first, _, last = part.removeprefix("bytes ").removesuffix(f"/{SIZE}").partition("-")
            assert body == CONTENT[int(first) : int(last) + 1]
        else:
            assert (status, body) in ((200, CONTENT), (416, b""))

    check()


@pytest.mark.parametrize(
    ("asked", "status"),
    [("bytes=0-0,2-3", 200), ("lines=0-1", 200), ("bytes=1-0", 200), ("bytes=40-", 416)],
)
def test_anything_but_one_range_gets_the_whole_content(
    client: Client, here: str, asked: str, status: int
) -> None:
    assert answered(client, here, asked)[0] == status


@pytest.mark.parametrize(("asked", "status"), [("bytes=0-", 416), ("bytes=-1", 200)])
def test_empty_content_has_no_ranges(
    client: Client, imported: Import, asked: str, status: int
) -> None:
    imported({"numbers.bin": b""})
    assert answered(client, address("numbers.bin", "raw/"), asked)[:2] == (status, b"")


def test_if_range_only_continues_the_same_content(client: Client, here: str) -> None:
    head = client.head(here, headers={"Range": "bytes=1-2"})
    assert (head.status_code, head["Content-Length"]) == (200, str(SIZE))
    for same in (head["ETag"], head["Last-Modified"]):
        assert answered(client, here, "bytes=1-2", **{"If-Range": same})[:2] == (206, b"\1\2")
    others = ['"other"', f"W/{head['ETag']}", "Sun, 06 Nov 1994 08:49:37 GMT", "nonsense"]
    for other in others:
        assert answered(client, here, "bytes=1-2", **{"If-Range": other})[:2] == (200, CONTENT)
        # Empty content is sent whole, too.
        assert answered(client, here, "bytes=99-", **{"If-Range": other})[:2] == (200, CONTENT)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({"If-None-Match": "{tag}"}, 304),
        ({"If-None-Match": '"other", W/{tag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"', "If-Modified-Since": "{time}"}, 206),
        ({"If-Modified-Since": "{time}"}, 304),
        ({"If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}, 206),
        ({"If-Modified-Since": "nonsense"}, 206),
        ({"If-Match": "{tag}"}, 206),
        ({"If-Match": '"other"'}, 412),
        ({"If-Unmodified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}, 412),
    ],
)
def test_conditions_are_checked_before_ranges(
    client: Client, here: str, header: dict[str, str], status: int
) -> None:
    head = client.head(here)
    filled = {
        name: value.format(tag=head["ETag"], time=head["Last-Modified"])
        for name, value in header.items()
    }
    response = client.get(here, headers={"Range": "bytes=0-0", **filled})
    assert (response.status_code, response["ETag"]) == (status, head["ETag"])
    response.close()


def test_every_download_is_counted_on_the_page_of_the_file(
    client: Client, imported: Import
) -> None:
    imported({"a.txt": b"0123456789"})
    page = address("a.txt")
    download = f"{page}download/"

    def shown() -> str:
        match = re.search(r">Downloads</th><td>(\d+)<", client.get(page).content.decode())
        assert match
        return match[1]

    def fetch(address: str, **headers: str) -> str | None:
        response = client.get(address, headers=headers)
        response.close()
        return response.get("ETag")

    before = int(shown())
    etag = fetch(download)
    fetch(download, range="bytes=0-3")
    assert int(shown()) == before + 2
    # None of these sends the file to a client that has no part of it.
    client.head(download).close()
    fetch(download, range="bytes=4-")
    fetch(download, if_none_match=str(etag))
    fetch(f"{page}raw/")
    assert int(shown()) == before + 2
