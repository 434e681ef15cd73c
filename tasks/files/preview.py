"""Previews of imported files: pictures, text in any encoding, tables."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beaker_regions import CachedFile
    from tasks.files.index import FileRow

PREVIEW_SIZE = 64 * 1024
"""Bytes of a text that its page shows, and from which its encoding is guessed."""
PREVIEW_ROWS = 50
"""Rows of a table that its page shows."""
PREVIEW_COLUMNS = 100
"""Cells of a row that its page shows."""
PREVIEW_IMAGE = 16 * 1024 * 1024
"""The most bytes of a picture that a page shows, since browsers load all of it."""
_SAMPLE = 16 * 1024
"""Characters from which the delimiter of a table is guessed."""
_SAMPLE_ROWS = 21
"""Rows from which the delimiter and the header are guessed: a header, and some to compare."""

IMAGES = frozenset(
    f"image/{kind}"
    for kind in ("avif", "bmp", "gif", "jpeg", "png", "svg+xml", "webp", "vnd.microsoft.icon")
)
"""Media types that browsers show as images."""
_TEXTS = frozenset(
    f"application/{kind}"
    for kind in ("javascript", "json", "sql", "toml", "x-perl", "x-sh", "x-tex", "xml", "yaml")
)
"""Media types of texts that do not begin with ``text/``."""
_TABLES = {"text/csv": ",", "text/tab-separated-values": "\t"}
"""Media types of tables, with their usual delimiters."""
_DELIMITERS = ",;\t|"
_NUMBER = re.compile(r"[+-]?[0-9.,]+(?:[eE][+-]?[0-9]+)?%?")


@dataclass(frozen=True, slots=True)
class Text:
    """The beginning of a text."""

    text: str
    partial: bool
    """Whether the file has more."""


@dataclass(frozen=True, slots=True)
class Table:
    """The beginning of a table. Its first row may have the names of the columns."""

    rows: tuple[tuple[str, ...], ...]
    header: bool
    partial: bool
    """Whether the table has more rows."""
    narrowed: bool
    """Whether rows have more cells."""


def text_of(file: FileRow, content: CachedFile, longest: int = PREVIEW_SIZE) -> Text | None:
    """Return up to ``longest`` bytes from the beginning of a text; None if the file is no text."""
    kind = file.media_type
    readable = kind.startswith("text/") or kind in _TEXTS or kind.endswith(("+json", "+xml"))
    if not readable or kind in IMAGES:
        return None
    with content.open() as stream:
        start = stream.read(longest)
    decoder = codecs.getincrementaldecoder(_charset(start[:PREVIEW_SIZE]))("replace")
    text = decoder.decode(start)
    return None if "\0" in text else Text(text, partial=content.size > longest)


def charset_of(content: CachedFile) -> str:
    """Return the name of a text's encoding, as browsers know it: that of its byte order mark, else
    UTF-8 if the beginning is valid UTF-8, else Windows-1252, which suits nearly all others."""
    with content.open() as stream:
        return _charset(stream.read(PREVIEW_SIZE)).removesuffix("-sig")


def _charset(start: bytes) -> str:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        # An incremental decoder accepts a character that is cut off at the end.
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8-sig" if start.startswith(codecs.BOM_UTF8) else "utf-8"


# -- tables --------------------------------------------------------------------------------


def is_table(file: FileRow) -> bool:
    return file.media_type in _TABLES


def table_of(file: FileRow, text: Text) -> Table | None:
    """Return the first rows and columns of a table; None if it cannot be read as one."""
    try:
        rows = [row for _, row in islice(rows_of(file, text), PREVIEW_ROWS + 1)]
    except csv.Error:
        return None
    shown = tuple(tuple(row[:PREVIEW_COLUMNS]) for row in rows[:PREVIEW_ROWS])
    return Table(
        shown,
        _has_header(shown[:_SAMPLE_ROWS]),
        partial=text.partial or len(rows) > PREVIEW_ROWS,
        narrowed=any(len(row) > PREVIEW_COLUMNS for row in rows[:PREVIEW_ROWS]),
    )


def rows_of(file: FileRow, text: Text) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a table that are not empty, with the number of the line in which each ends.
    The last row is left out if it may be cut off. Raises csv.Error."""
    return _rows(text.text, _delimiter(file, text), cut=text.partial)


def _rows(
    text: str, delimiter: str, *, cut: bool, strict: bool = False
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict)
    previous = None
    try:
        for row in reader:
            if previous is not None:
                yield previous
            previous = (reader.line_num, row) if row else None
    except csv.Error:
        if previous is not None:
            yield previous
        raise
    if previous is not None and not cut:
        yield previous


def _delimiter(file: FileRow, text: Text) -> str:
    """Return the delimiter of the columns: the one with which most rows have the same number of
    cells, and more than one. Rows whose quotes fit the delimiter count first. Each delimiter is
    tried on a sample. (`csv.Sniffer` takes up to the fourth power of the sample's length.)"""
    sample = text.text[:_SAMPLE]
    cut = text.partial or len(sample) < len(text.text)
    usual = _TABLES[file.media_type]

    def fitness(each: str) -> tuple[float, int, float, int, bool]:
        strict = _agreement(sample, each, cut, strict=True)
        return (*strict, *_agreement(sample, each, cut, strict=False), each == usual)

    return max(_DELIMITERS, key=fitness)


def _agreement(sample: str, delimiter: str, cut: bool, *, strict: bool) -> tuple[float, int]:
    """Return the share of rows that have the most frequent number of cells, and that number; zeros
    if the delimiter separates nothing."""
    numbers: Counter[int] = Counter()
    with suppress(csv.Error):
        for _, row in islice(_rows(sample, delimiter, cut=cut, strict=strict), _SAMPLE_ROWS):
            numbers[len(row)] += 1
    # If two numbers are equally frequent, the larger one counts.
    rows, cells = max(((rows, cells) for cells, rows in numbers.items()), default=(0, 0))
    return (rows / numbers.total(), cells) if cells > 1 else (0.0, 0)


def _has_header(rows: tuple[tuple[str, ...], ...]) -> bool:
    """Whether the first row differs from the others: a column has numbers, or cells of one length,
    and the first row does not."""
    if not rows:
        return False
    header, *others = rows
    votes = 0
    alike = [row for row in others if len(row) == len(header)]
    for name, *cells in zip(header, *alike, strict=True) if alike else ():
        if all(map(_NUMBER.fullmatch, cells)):
            votes += -1 if _NUMBER.fullmatch(name) else 1
        elif len(set(map(len, cells))) == 1:
            votes += -1 if len(name) == len(cells[0]) else 1
    return votes > 0
