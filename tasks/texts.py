"""Imported files as people read them: pictures, text in whatever encoding, tables."""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from regions import CachedFile
    from tasks.file_index import FileRow

PREVIEW_SIZE = 64 * 1024
"""Bytes of a text that its page shows, and that tell its encoding."""
PREVIEW_ROWS = 50
"""Rows of a table that its page shows."""
_SAMPLE = 4096
"""Characters that tell the form of a table; the time that takes grows with their square."""

IMAGES = frozenset(
    f"image/{kind}"
    for kind in ("avif", "bmp", "gif", "jpeg", "png", "svg+xml", "webp", "vnd.microsoft.icon")
)
"""What browsers show as images."""
_TEXTS = frozenset(
    f"application/{kind}"
    for kind in ("javascript", "json", "sql", "toml", "x-perl", "x-sh", "x-tex", "xml", "yaml")
)
"""What people read, though its media type is not ``text/…``."""
_TABLES = {"text/csv": ",", "text/tab-separated-values": "\t"}
"""Media types of tables, and what separates their columns unless it looks otherwise."""


@dataclass(frozen=True, slots=True)
class Text:
    """The beginning of a text."""

    text: str
    partial: bool
    """Whether the file goes on."""


@dataclass(frozen=True, slots=True)
class Table:
    """The beginning of a table, the first row of which may name the columns."""

    rows: tuple[tuple[str, ...], ...]
    header: bool
    partial: bool
    """Whether the table goes on."""


def text_of(file: FileRow, content: CachedFile, longest: int = PREVIEW_SIZE) -> Text | None:
    """Return up to ``longest`` bytes from the beginning of a text; None for what is none."""
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
    """Return the name of a text's encoding, as browsers know it: what its mark says, else UTF-8 if
    it begins as valid UTF-8, else Windows-1252, which nearly every other text reads well in."""
    with content.open() as stream:
        return _charset(stream.read(PREVIEW_SIZE)).removesuffix("-sig")


def _charset(start: bytes) -> str:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        # A decoder that is told to expect more takes a character that is cut off at the end.
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8-sig" if start.startswith(codecs.BOM_UTF8) else "utf-8"


# -- tables --------------------------------------------------------------------------------


def is_table(file: FileRow) -> bool:
    return file.media_type in _TABLES


def table_of(file: FileRow, text: Text) -> Table | None:
    """Return the first rows of a table; None when it cannot be read as one."""
    try:
        rows = [row for _, row in islice(rows_of(file, text), PREVIEW_ROWS + 1)]
    except csv.Error:
        return None
    shown = tuple(map(tuple, rows[:PREVIEW_ROWS]))
    return Table(shown, has_header(text), partial=text.partial or len(rows) > PREVIEW_ROWS)


def rows_of(file: FileRow, text: Text) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a table that are not empty, with the number of the line in which each
    ends; not the last one if it may be cut off. Raises csv.Error."""
    reader = csv.reader(io.StringIO(text.text, newline=""), delimiter=_delimiter(file, text))
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
    if previous is not None and not text.partial:
        yield previous


def has_header(text: Text) -> bool:
    """Whether the first row looks different from the others."""
    try:
        return csv.Sniffer().has_header(text.text[:_SAMPLE])
    except csv.Error:
        return False


def _delimiter(file: FileRow, text: Text) -> str:
    try:
        # Whole lines, as the sniffer counts in each how often a character occurs.
        sample = text.text[:_SAMPLE]
        return csv.Sniffer().sniff(sample.rpartition("\n")[0] or sample, ",;\t|").delimiter
    except csv.Error:
        return _TABLES[file.media_type]
