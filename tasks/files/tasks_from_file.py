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
    from collections.abc import Iterable, Iterator

    from tasks.files.index import FileRow
    from tasks.files.preview import Text

LONGEST = 1024 * 1024
"""The most bytes of a file that are read."""
LINES = 5000
"""The most lines of a file, or rows of a table, that are read."""
MOST = 1000
"""The most tasks that are made at once."""


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that cannot be the name of a task."""

    number: int
    """The line's number, from 1; in a table, that of the line in which the row ends."""
    reason: str


@dataclass(slots=True)
class Plan:
    """The tasks that a file's lines would become."""

    names: list[str] = field(default_factory=list)
    """The names of the tasks, in the order of the lines."""
    empty: int = 0
    """Lines without a name."""
    repeated: int = 0
    """Lines with the name of an earlier one."""
    refused: list[RefusedLine] = field(default_factory=list)
    beyond: int = 0
    """Lines after the last task that is made at once."""
    unread: bool = False
    """Whether the file has more lines than are read."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The part of a table that has the names."""

    columns: tuple[str, ...]
    """The names of the columns."""
    column: int
    """The number of the column with the tasks' names, from 0."""
    header: bool
    """Whether the first row has the names of the columns."""


def choice_of(file: FileRow, text: Text, column: int, header: bool | None) -> Choice | None:
    """Return the choice in a table; None if the file is no table. If ``header`` is None, it is
    guessed from the table."""
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
    """Return the tasks that the lines, or the rows of a table, would become."""
    return plan_of_lines(_lines(text) if choice is None else _cells(file, text, choice))


def plan_of_lines(lines: Iterable[tuple[int, str]]) -> Plan:
    """Return the tasks that lines, each with its number, would become."""
    plan, seen, number = Plan(), set(), 0
    clean = TaskForm.base_fields["name"].clean
    try:
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
                    plan.refused.append(RefusedLine(number, " ".join(error.messages)))
    except csv.Error as error:
        reason = f"From here on it cannot be read as a table: {error}."
        plan.refused.append(RefusedLine(number + 1, reason))
    return plan


def _lines(text: Text) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers. The last is left out if it may be cut off."""
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
