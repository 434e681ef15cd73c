"""Tasks that are made from the lines of a file."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest

from tasks.files.tasks_from_file import LONGEST, MOST
from tasks.models import ImportedFile, Task
from tests.tasks.files.conftest import address

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.tasks.conftest import Browser, MakeBrowser, Page
    from tests.tasks.files.conftest import Import

pytestmark = pytest.mark.django_db(transaction=True)


def make(browser: Browser, path: str, **fields: object) -> Page:
    digest = ImportedFile.objects.get(path=path).digest
    return browser.post(address(path, "tasks/"), **{"digest": digest, **fields})


def preview(browser: Browser, path: str, **query: object) -> Page:
    return browser.get(address(path, "tasks/"), **query)


@pytest.mark.parametrize("known", [True, False], ids=["user", "visitor"])
def test_lines_become_tasks_with_the_first_on_top(
    browser: MakeBrowser, user: User, imported: Import, known: bool
) -> None:
    imported({"a.txt": "Über <b>\r\n\r\n  Second \nÜber <b>\rLast".encode("windows-1252")})
    mine = browser(user if known else None)
    mine.add("Before")
    page = preview(mine, "a.txt")
    assert "Add 3 tasks" in page.text
    assert "1 empty line left out" in page.text
    assert "1 line left out that repeats an earlier one" in page.text
    assert mine.get().names == ["Before"], "looking makes nothing"

    assert "Added 3 tasks." in make(mine, "a.txt").text
    assert mine.get().names == ["Über <b>", "Second", "Last", "Before"]
    mine.add("After")
    assert mine.get().names[0] == "After"
    assert mine.get().counts[0] == 5


@pytest.mark.parametrize(
    ("content", "fields", "names"),
    [
        (b"name;age\nAnn;1\nBob;2\n", {}, ["Ann", "Bob"]),
        (b"name;age\nAnn;1\nBob;2\n", {"header": "0"}, ["name", "Ann", "Bob"]),
        (b"name;age\nAnn;1\nBob;2\n", {"column": "1"}, ["1", "2"]),
        (b"name;age\nAnn;1\nBob;2\n", {"column": "7", "header": "x"}, ["Ann", "Bob"]),
        (b'"a, b",1\n"two\n lines",2\n\nshort\n', {"header": "0"}, ["a, b", "two lines", "short"]),
        (b"short\n1,long\n2,row\n", {"column": "1", "header": "0"}, ["long", "row"]),
        (b"one\ntwo\n", {"header": "0"}, ["one", "two"]),
    ],
)
def test_the_cells_of_a_column_become_tasks(
    browser: MakeBrowser, imported: Import, content: bytes, fields: dict[str, str], names: list[str]
) -> None:
    imported({"a.csv": content})
    mine = browser()
    page = preview(mine, "a.csv", **fields)
    assert f"Add {len(names)} task" in page.text
    make(mine, "a.csv", **fields)
    assert mine.get().names == names


def test_the_offered_tasks_of_a_table_are_the_created_ones(
    browser: MakeBrowser, imported: Import
) -> None:
    imported({"a.tsv": b"<name>\tage\nAnn\t1\nBob\t2\n"})
    mine = browser()
    page = preview(mine, "a.tsv", column="1", header="1")
    assert re.findall(r"<option[^>]*selected>(.*?)<", page.html) == ["age", "names the columns"]
    assert "&lt;name&gt;" in page.html
    form = page.html.partition('<form method="post">')[2]
    fields = dict(re.findall(r'name="(\w+)" value="(\w+)"', form))
    mine.post(address("a.tsv", "tasks/"), **fields)
    assert mine.get().names == ["1", "2"]


def test_invalid_names_are_reported_and_left_out(browser: MakeBrowser, imported: Import) -> None:
    imported({"a.txt": f"Good\n{'x' * 256}\n\u200b\n{'y' * 255}\n".encode()})
    mine = browser()
    page = preview(mine, "a.txt")
    assert "Line 2: A name has at most 255 characters; this one has 256." in page.text
    assert "Line 3: Give the task a name that can be seen." in page.text
    make(mine, "a.txt")
    assert mine.get().names == ["Good", "y" * 255]


def test_the_page_names_the_limit(browser: MakeBrowser, imported: Import) -> None:
    imported({"a.txt": "".join(f"{number}\n" for number in range(MOST + 2)).encode()})
    mine = browser()
    page = preview(mine, "a.txt")
    assert f"2 further lines left out: at most {MOST} tasks are made at once" in page.text
    make(mine, "a.txt")
    assert Task.objects.count() == MOST
    assert mine.get().names[:2] == ["0", "1"]


@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
def test_a_long_file_is_read_in_part_up_to_a_whole_line(
    browser: MakeBrowser, imported: Import, name: str
) -> None:
    content = b"First\n" + (b"x" * 100_000 + b"\n") * 10
    content += b"y" * (LONGEST - len(content) - len("\nLast")) + b"\nLast but cut off\n"
    imported({name: content})
    page = preview(browser(), name, header="0")
    assert "Add 1 task" in page.text
    assert "Last" not in page.text.partition("First")[2]
    assert "Read in part: the first 1.0 MB of 1.0 MB" in page.text


def test_a_file_that_changed_after_the_preview_creates_no_task(
    browser: MakeBrowser, imported: Import
) -> None:
    imported({"a.txt": b"Old\n"})
    mine = browser()
    seen = ImportedFile.objects.get().digest
    imported({"a.txt": b"New\n"})
    page = make(mine, "a.txt", digest=seen)
    assert page.status == 409
    assert "The file has been imported again." in page.text
    assert "New" in page.text
    assert not Task.objects.exists()


@pytest.mark.parametrize(("content", "status"), [(b"\n \n", 200), (b"", 200), (b"\0\1", 404)])
def test_a_file_without_lines_creates_no_task(
    browser: MakeBrowser, imported: Import, content: bytes, status: int
) -> None:
    imported({"a.txt": content})
    mine = browser()
    for page in (preview(mine, "a.txt"), make(mine, "a.txt")):
        assert page.status == status
        assert "<button" not in html.unescape(page.html).partition("<main")[2]
    assert "Nothing to do yet" in mine.get().text


def test_the_readable_part_of_a_table_becomes_tasks(browser: MakeBrowser, imported: Import) -> None:
    rows = "".join(f"Name {number},{number}\n" for number in range(60))
    imported({"a.csv": rows.encode() + b'"' + b"x" * 200_000})
    page = preview(browser(), "a.csv", header="0")
    assert "Add 60 tasks" in page.text
    assert "Line 61: From here on it cannot be read as a table" in page.text
