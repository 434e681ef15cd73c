"""Names of tasks, from the lines of an imported text or from a column of an imported table."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError

from tasks.files import preview
from tasks.forms import TaskForm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.files.index import FileRow
    from tasks.files.preview import Text

LONGEST = 1024 * 1024
"""Bytes of a file that are read."""
LINES = 5000
"""Lines of a file, or rows of a table, that are read."""
MOST = 1000
"""Tasks that are made at once."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that is no name of a task."""

    number: int
    """From 1; in a table, that of the line in which the row ends."""
    reason: str


@dataclass(slots=True)
class Plan:
    """What would become of a file's lines."""

    names: list[str] = field(default_factory=list)
    """Of the tasks, in the order of the lines."""
    empty: int = 0
    """Lines without a name."""
    repeated: int = 0
    """Lines with a name that an earlier one has."""
    refused: list[Refused] = field(default_factory=list)
    beyond: int = 0
    """Lines that come after as many tasks as are made at once."""
    unread: bool = False
    """Whether there are more lines than are read."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which part of a table has the names."""

    columns: tuple[str, ...]
    """What the columns are called."""
    column: int
    """The number of the one with the names, from 0."""
    header: bool
    """Whether the first row is the names of the columns."""


def choice_of(file: FileRow, text: Text, column: int, header: bool | None) -> Choice | None:
    """Return what can be chosen in a table, as it was chosen; None for what is no table. Without a
    ``header`` it is as the table looks."""
    if not preview.is_table(file):
        return None
    table = preview.table_of(file, text)
    if table is None or not table.rows:
        return None
    if header is None:
        header = table.header
    width = max(map(len, table.rows))
    named = table.rows[0] if header else ()
    columns = tuple(
        (named[number].strip() if number < len(named) else "") or f"Column {number + 1}"
        for number in range(width)
    )
    return Choice(columns, column if 0 <= column < width else 0, header)


def plan_of(file: FileRow, text: Text, choice: Choice | None) -> Plan:
    """Return what would become of the lines, or of the rows of a table."""
    plan, seen, number = Plan(), set(), 0
    clean = TaskForm.base_fields["name"].clean
    try:
        lines = _lines(text) if choice is None else _cells(file, text, choice)
        for count, (number, line) in enumerate(lines):
            if count == LINES:
                plan.unread = True
                break
            if not line:
                plan.empty += 1
            elif line in seen:
                plan.repeated += 1
            elif len(plan.names) == MOST:
                plan.beyond += 1
            else:
                seen.add(line)
                try:
                    plan.names.append(clean(line))
                except ValidationError as error:
                    plan.refused.append(Refused(number, " ".join(error.messages)))
    except csv.Error as error:
        reason = f"From here on it cannot be read as a table: {error}."
        plan.refused.append(Refused(number + 1, reason))
    return plan


def _lines(text: Text) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers; not the last one if it may be cut off."""
    lines = io.StringIO(text.text, newline=None)
    for number, line in enumerate(lines, 1):
        if line.endswith("\n") or not text.partial:
            yield number, line.strip()


def _cells(file: FileRow, text: Text, choice: Choice) -> Iterator[tuple[int, str]]:
    """Yield the cells of a column with the numbers of their lines. Raises csv.Error."""
    rows = preview.rows_of(file, text)
    if choice.header:
        next(rows, None)
    for number, row in rows:
        cell = row[choice.column] if choice.column < len(row) else ""
        yield number, " ".join(cell.split())
