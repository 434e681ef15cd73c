"""Folders, search and previews of the imported files, as a browser gets them."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command

from tasks.files.index import PAGE_SIZE
from tasks.models import ImportedFile
from tests.tasks.files.conftest import address, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from django.test import Client

    from tests.tasks.files.conftest import Import

pytestmark = pytest.mark.django_db(transaction=True)


def listed(client: Client, **query: str) -> list[str]:
    """Return the names on a page of folders and files, those of folders with "/"."""
    page = client.get("/files/", query).content.decode()
    rows = re.findall(r'<td><a href="(.*?)">.*?<bdi>(.*?)</bdi></a></td>', page, re.DOTALL)
    return [
        html.unescape(re.sub(r"<[^>]*>", "", name)) + "/" * ("folder=" in place)
        for place, name in rows
    ]


def test_without_files_the_page_says_how_to_import_some(client: Client) -> None:
    text = text_of(client.get("/files/"))
    assert "No files have been imported yet." in text
    assert "python manage.py import_data SOURCE" in text


def test_a_sample_is_imported_once(client: Client) -> None:
    client.post("/files/sample/")
    assert listed(client) == ["recipes/", "mountains.svg", "packing list.csv"]
    for pk in ImportedFile.objects.values_list("pk", flat=True):
        assert client.get(f"/files/{pk}/").status_code == 200
    ImportedFile.objects.filter(path="mountains.svg").delete()
    client.post("/files/sample/")
    assert listed(client) == ["recipes/", "packing list.csv"]


def test_folders_come_first_with_a_summary_of_their_content(
    client: Client, imported: Import
) -> None:
    imported(
        {
            "a.txt": b"x",
            "Z/deep/<b> & c.txt": b"x" * 2048,
            "Z/deep/er/d.bin": b"\0" * 1024,
            "Z/deep.txt": b"",
            "b c?#%/one": b"",
        }
    )
    assert listed(client) == ["b c?#%/", "Z/", "a.txt"]
    text = text_of(client.get("/files/"))
    assert "5 files, 3.0\xa0KB" in text
    assert "Z 3.0\xa0KB 3 files" in text
    assert "b c?#% 0\xa0bytes 1 file" in text
    assert listed(client, folder="Z") == ["deep/", "deep.txt"]
    assert listed(client, folder="Z/deep") == ["er/", "<b> & c.txt"]
    page = client.get("/files/", {"folder": "Z/deep/"})
    assert "Files Z deep" in text_of(page)
    assert "<b> & c.txt 2.0\xa0KB text/plain" in text_of(page)
    for place, name in re.findall(
        r'href="(/files/\?folder=.*?)".*?<bdi>(.*?)<', page.content.decode()
    ):
        assert f"<h1><bdi>{name}</bdi></h1>" in client.get(html.unescape(place)).content.decode()


@pytest.mark.parametrize("folder", ["no", "Z/de", "z", "a.txt", "..", "Z/../Z", "\0", "x" * 5000])
def test_a_missing_folder_is_not_found(client: Client, imported: Import, folder: str) -> None:
    imported({"Z/deep/file": b"", "a.txt": b""})
    assert client.get("/files/", {"folder": folder}).status_code == 404


def test_folders_and_files_share_the_pages_of_a_folder(client: Client, imported: Import) -> None:
    folders = {f"in/f{number:02}/x": b"" for number in range(PAGE_SIZE - 1)}
    imported(folders | {f"in/{number:03}": b"" for number in range(PAGE_SIZE + 2)} | {"on": b""})
    names = [*(f"f{number:02}/" for number in range(PAGE_SIZE - 1))]
    names += [f"{number:03}" for number in range(PAGE_SIZE + 2)]
    shown = []
    for page in ("1", "2", "3"):
        shown += listed(client, folder="in", page=page)
    assert shown == names
    (following,) = re.findall(
        r'rel="next" href="(.*?)"', client.get("/files/", {"folder": "in"}).content.decode()
    )
    assert "Page 2 of 3" in text_of(client.get("/files/" + html.unescape(following)))
    for page in ("99", "9" * 5000):
        assert listed(client, folder="in", page=page)


def test_a_folder_disappears_with_its_last_file(
    client: Client, imported: Import, tmp_path: Path
) -> None:
    imported({"a/b/c": b"", "d": b""})
    assert listed(client) == ["a/", "d"]
    (tmp_path / "a" / "b" / "c").unlink()
    call_command("import_data", str(tmp_path), prune=True)
    assert listed(client) == ["d"]
    assert client.get("/files/", {"folder": "a"}).status_code == 404


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
def test_a_search_finds_paths_that_contain_it(
    client: Client, imported: Import, search: str, found: list[str] | None
) -> None:
    names = [
        *("README.txt", "100%.txt", "1000.txt", "a_b.txt", "axb.txt", "back\\slash.txt"),
        *("file (1).*", "file 1.txt", "Über.txt", "sub/inner.txt"),
    ]
    imported(dict.fromkeys(names, b""))
    if found is None:
        assert listed(client, q=search) == listed(client)
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


def test_a_newly_imported_file_is_on_the_page(client: Client, imported: Import) -> None:
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


@pytest.mark.parametrize(
    "where",
    ["/files/999999/", "/files/999999/raw/", "/files/../manage.py", "/files/%2e%2e/manage.py/"],
)
def test_only_rows_of_the_index_have_a_page(client: Client, where: str) -> None:
    assert client.get(where).status_code == 404


@pytest.mark.parametrize("where", ["/files/", "/files/1/", "/files/1/raw/", "/files/1/download/"])
def test_the_pages_accept_only_safe_methods(client: Client, where: str) -> None:
    assert client.post(where).status_code == 405
