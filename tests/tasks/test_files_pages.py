"""The pages of the imported files, as a browser gets them."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command

from beakercache import cache
from tasks.files import PAGE_SIZE
from tasks.models import ImportedFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import Client

    Import = Callable[[dict[str, bytes]], None]

pytestmark = pytest.mark.django_db(transaction=True)

SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


@pytest.fixture
def imported(tmp_path: Path) -> Import:
    """Import files of these names and contents."""

    def bring(files: dict[str, bytes]) -> None:
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        call_command("import_data", str(tmp_path))

    return bring


def address(path: str, page: str = "") -> str:
    return f"/files/{ImportedFile.objects.get(path=path).pk}/{page}"


def text_of(response: Any) -> str:
    """Return a page's text, unescaped, without tags."""
    body = response.content.decode().partition("<main")[2]
    return html.unescape(re.sub(r"<[^>]*>", "", body))


def listed(client: Client, **query: str) -> list[str]:
    """Return the paths on a page of the list."""
    page = client.get("/files/", query).content.decode()
    names = re.findall(r"<td><a href=.*?><bdi>(.*?)</bdi></a></td>", page, re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]*>", "", name)) for name in names]


def test_without_files_the_page_says_how_to_import_some(client: Client) -> None:
    text = text_of(client.get("/files/"))
    assert "No files have been imported yet." in text
    assert "python manage.py import_data SOURCE" in text


def test_the_list_shows_path_size_and_type(client: Client, imported: Import) -> None:
    imported({"folder/<b>.txt": b"x" * 2048})
    text = text_of(client.get("/files/"))
    assert "folder/<b>.txt" in text
    assert "2.0\xa0KB" in text
    assert "text/plain" in text


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("readme", ["README.txt"]),
        ("100%", ["100%.txt"]),
        ("a_b", ["a_b.txt"]),
        ("\\", ["back\\\\slash.txt"]),
        ("(1).*", ["file (1).*"]),
        ("über", ["Über.txt"]),
        ("sub/", ["sub/inner.txt"]),
        ("  readme ", ["README.txt"]),
        ("<nothing>", []),
        ("x" * 300, []),
        ("\0", None),
    ],
)
def test_a_search_finds_what_contains_it(
    client: Client, imported: Import, search: str, found: list[str] | None
) -> None:
    names = [
        *("README.txt", "100%.txt", "1000.txt", "a_b.txt", "axb.txt", "back\\slash.txt"),
        *("file (1).*", "file 1.txt", "Über.txt", "sub/inner.txt"),
    ]
    imported(dict.fromkeys(names, b""))
    if found is None:
        assert len(listed(client, q=search)) == len(names)
    else:
        assert listed(client, q=search) == found
    if found == []:
        assert f"No file has “{search[:255]}” in its path." in text_of(
            client.get("/files/", {"q": search})
        )


def test_long_lists_have_pages_that_keep_the_search(client: Client, imported: Import) -> None:
    imported({f"{number:03}": b"" for number in range(PAGE_SIZE + 1)} | {"other": b""})
    first = client.get("/files/", {"q": "0"}).content.decode()
    assert "Page 1 of 2" in first
    (following,) = re.findall(r'rel="next" href="(.*?)"', first)
    assert listed(client, q="0") == [f"{number:03}" for number in range(PAGE_SIZE)]
    last = client.get("/files/" + html.unescape(following)).content.decode()
    assert f"{PAGE_SIZE:03}" in last
    assert 'rel="next"' not in last
    for page in ("99", "-1", "x", "9" * 5000, ""):
        assert listed(client, page=page)


def test_what_is_imported_meanwhile_is_on_the_page(client: Client, imported: Import) -> None:
    imported({"a": b"first"})
    assert listed(client) == ["a"]
    shown = address("a")
    assert "first" in text_of(client.get(shown))
    imported({"a": b"second", "b": b""})
    assert listed(client) == ["a", "b"]
    assert "second" in text_of(client.get(shown))


@pytest.mark.parametrize(
    ("name", "content", "shown"),
    [
        ("utf-8.txt", "<grün>".encode(), "<grün>"),
        ("marked.txt", "grün".encode("utf-8-sig"), "grün"),
        ("windows.txt", "grün €".encode("windows-1252"), "grün €"),
        ("utf-16.txt", "grün".encode("utf-16"), "grün"),
        ("page.html", b"<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("data.json", b'{"a": 1}', '{"a": 1}'),
        ("no-suffix", b"plain", "plain"),
        ("empty.txt", b"", "The file is empty."),
        ("cut.txt", b"a" + "ü".encode() * 40_000, "Shown in part: the first 64 KB of 78.1\xa0KB."),
        ("no-suffix", b"\x7fELF\0\1", "There is nothing to show"),
        ("archive.tar.gz", b"\x1f\x8b", "There is nothing to show"),
        ("false.txt", b"\0\0\0", "There is nothing to show"),
    ],
)
def test_text_is_shown(
    client: Client, imported: Import, name: str, content: bytes, shown: str
) -> None:
    imported({name: content})
    response = client.get(address(name))
    assert shown in text_of(response)
    assert b"<script>alert" not in response.content
    assert "\N{REPLACEMENT CHARACTER}" not in text_of(response)


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a.webp", "a.jpg"])
def test_images_are_shown(client: Client, imported: Import, name: str) -> None:
    imported({name: SVG})
    assert f'src="{address(name, "raw/")}"' in client.get(address(name)).content.decode()
    response = client.get(address(name, "raw/"))
    assert response["Content-Type"].startswith("image/")
    assert response["Content-Disposition"].startswith("inline")
    assert response.getvalue() == SVG


@pytest.mark.parametrize(
    ("name", "media_type", "inline"),
    [
        ("a.html", "text/html", False),
        ("a.svg", "image/svg+xml", True),
        ("a.js", "text/javascript", False),
        ("a.pdf", "application/pdf", False),
        ("a.xml", "application/xml", False),
        ("a.txt", "text/plain; charset=utf-8", True),
        ("a", "text/plain; charset=utf-8", True),
    ],
)
def test_content_is_active_nowhere(
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


def test_what_the_browser_has_is_not_sent_again(client: Client, imported: Import) -> None:
    imported({"a.txt": b"first"})
    here = address("a.txt", "download/")
    tag = client.head(here)["ETag"]
    again = client.get(here, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)
    imported({"a.txt": b"second"})
    response = client.get(here, headers={"If-None-Match": tag})
    assert (response.status_code, response.getvalue()) == (200, b"second")


def test_content_that_expired_is_read_again_and_what_is_away_has_a_page_that_says_so(
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
        # What a browser had before does not count: neither the page nor the status is the file's.
        away = client.get(address("a.txt", page), headers={"If-None-Match": response["ETag"]})
        assert away.status_code == 404
        assert "The content of this file is not kept any more" in text_of(away)
        assert "a.txt" in text_of(away)
        assert "ETag" not in away
        assert client.head(address("a.txt", page)).status_code == 404
    imported({"a.txt": b"first"})
    assert client.get(here).getvalue() == b"first"


@pytest.mark.parametrize(
    "where",
    ["/files/999999/", "/files/999999/raw/", "/files/../manage.py", "/files/%2e%2e/manage.py/"],
)
def test_nothing_but_rows_of_the_index_has_a_page(client: Client, where: str) -> None:
    assert client.get(where).status_code == 404


@pytest.mark.parametrize("where", ["/files/", "/files/1/", "/files/1/raw/", "/files/1/download/"])
def test_the_pages_are_for_reading(client: Client, where: str) -> None:
    assert client.post(where).status_code == 405
