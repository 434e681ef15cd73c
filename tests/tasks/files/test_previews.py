"""A preview takes a bounded time and has a bounded size, whatever the file."""

from __future__ import annotations

import csv
import io
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.files import preview, tasks_from_file
from tasks.files.index import FileRow
from tests.tasks.files.conftest import address, text_of

if TYPE_CHECKING:
    from django.test import Client

    from tests.tasks.files.conftest import Import

SECONDS = 30.0
"""Longer than any of these takes on a busy machine, and shorter than some of them once took."""


def row(name: str, size: int = 0) -> FileRow:
    kind = {"csv": "text/csv", "tsv": "text/tab-separated-values"}.get(name[-3:], "text/plain")
    return FileRow(1, name, size, kind, "", "", "", datetime.now(UTC))


def table(text: str, name: str = "a.csv", *, partial: bool = False) -> preview.Table | None:
    return preview.table_of(row(name), preview.Text(text, partial))


HOSTILE = [
    'x,"a",y\n' + '"' * 300 + "a\n",
    '"' * preview.PREVIEW_SIZE,
    '","' * (preview.PREVIEW_SIZE // 3),
    "'\"" * (preview.PREVIEW_SIZE // 2),
    "\n" * preview.PREVIEW_SIZE,
    "\r" * preview.PREVIEW_SIZE,
    ",\n" * (preview.PREVIEW_SIZE // 2),
    '"\n' * (preview.PREVIEW_SIZE // 2),
    " " * preview.PREVIEW_SIZE,
    "9" * preview.PREVIEW_SIZE,
    "1e" * (preview.PREVIEW_SIZE // 2),
    "".join(f'"a"{each}' for each in ",;\t|") * 1000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("partial", [True, False])
def test_every_table_is_read_quickly(text: str, partial: bool) -> None:
    began = time.monotonic()
    table(text, partial=partial)
    file, content = row("a.csv"), preview.Text(text, partial)
    tasks_from_file.plan_of(file, content, tasks_from_file.choice_of(file, content, 0, None))
    tasks_from_file.plan_of(file, content, None)
    assert time.monotonic() - began < SECONDS


@settings(max_examples=100, deadline=30_000)
@given(
    st.lists(st.sampled_from(['"', "'", ",", ";", "\t", "|", "\n", "\r", " ", "a", "1"])),
    st.integers(1, 2000),
)
@example(['x,"a",y\n' + '"' * 500 + "a\n"], 1)
def test_every_pattern_of_characters_is_read_quickly(pattern: list[str], times: int) -> None:
    text = ("".join(pattern) * times)[: preview.PREVIEW_SIZE]
    table(text)


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@settings(max_examples=60)
@given(
    st.sampled_from(",;\t|"),
    st.integers(2, 5).flatmap(
        lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1)
    ),
)
@example(",", [["", "|"], ["", "|"]])
def test_a_written_table_is_read_back_unchanged(delimiter: str, rows: list[list[str]]) -> None:
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    found = table(written.getvalue())
    assert found is not None
    assert found.rows == tuple(map(tuple, rows[: preview.PREVIEW_ROWS]))


@pytest.mark.parametrize(
    ("text", "columns", "header"),
    [
        ("name;price\nA, B;1,50\nC;2,00\n", 2, True),
        ("name,price\nA;B,1\nC,2\n", 2, True),
        ("1|2|3\n4|5|6\n", 3, False),
        ("a\tb\n1\t2\n", 2, True),
        ("", 0, False),
        ("only one row,of two\n", 2, False),
    ],
)
def test_the_delimiter_is_the_one_that_gives_rows_of_equal_length(
    text: str, columns: int, header: bool
) -> None:
    found = table(text)
    assert found is not None
    assert max(map(len, found.rows), default=0) == columns
    assert found.header is header


@pytest.mark.django_db(transaction=True)
def test_a_page_shows_a_limited_number_of_columns_and_says_so(
    client: Client, imported: Import
) -> None:
    imported({"wide.csv": b"," * (preview.PREVIEW_SIZE - 1) + b"\n"})
    page = client.get(address("wide.csv"))
    assert page.content.count(b"<td>") < 2 * preview.PREVIEW_COLUMNS
    assert f"the first {preview.PREVIEW_COLUMNS} columns" in text_of(page)
    choice = client.get(address("wide.csv", "tasks/"))
    assert choice.content.count(b"<option") < 2 * preview.PREVIEW_COLUMNS


@pytest.mark.django_db(transaction=True)
def test_a_huge_picture_is_not_loaded(
    client: Client, imported: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "PREVIEW_IMAGE", 3)
    imported({"a.png": b"1234", "b.png": b"123"})
    assert b"<img" not in client.get(address("a.png")).content
    assert "too large to be shown" in text_of(client.get(address("a.png")))
    assert b"<img" in client.get(address("b.png")).content


@pytest.mark.django_db(transaction=True)
def test_only_the_first_of_many_lines_are_read(client: Client, imported: Import) -> None:
    imported({"a.txt": b"\xe2\x80\x8b\n" * tasks_from_file.LINES + b"x\n"})
    page = client.get(address("a.txt", "tasks/"))
    assert f"Read in part: the first {tasks_from_file.LINES} lines" in text_of(page)
    assert b"Add 1 task" not in page.content
