"""A list as a file: CSV or JSON, written and read again."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from tasks.files.tasks_from_file import RefusedLine
from tasks.forms import TaskForm
from tasks.lists.capacity import MOST
from tasks.lists.changes import NewTask
from tasks.models import Task

FIELDS = ("name", "done", "due")
_FORMULA = re.compile(r"'*[=+\-@\t]")
"""What a spreadsheet would carry out. An apostrophe before it, or one more, makes it text."""
_TRUE = {"1", "true", "yes", "x", "done"}


def exported(list_id: int | None) -> list[NewTask]:
    """Return the tasks of a list, in order."""
    rows = Task.objects.filter(list_id=list_id).values_list("name", "due", "done")
    return [NewTask(*row) for row in rows]


def as_csv(tasks: Iterable[NewTask]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(FIELDS)
    for task in tasks:
        name = f"'{task.name}" if _FORMULA.match(task.name) else task.name
        writer.writerow((name, "yes" if task.done else "no", task.due or ""))
    return text.getvalue()


def as_json(tasks: Iterable[NewTask]) -> str:
    rows = [{**asdict(task), "due": task.due and task.due.isoformat()} for task in tasks]
    return json.dumps({"tasks": rows}, ensure_ascii=False, indent=1)


@dataclass(slots=True)
class Import:
    """What a file becomes."""

    tasks: list[NewTask] = field(default_factory=list)
    refused: list[RefusedLine] = field(default_factory=list)
    """Tasks that cannot be added, with their numbers in the file, from 1."""


def read(text: str) -> Import:
    """Read what `as_csv` or `as_json` has written. Raises ValueError if it is neither, or holds
    too many tasks."""
    result = Import()
    for number, row in enumerate(_rows(text.lstrip("\ufeff").strip()), 1):
        if number > MOST:
            raise ValueError(f"It has more than {MOST:,} tasks; import it in parts.")
        form = TaskForm({"name": row.get("name") or "", "due": row.get("due") or ""})
        if form.is_valid():
            done = str(row.get("done") or "").strip().lower() in _TRUE
            due: date | None = form.cleaned_data["due"]
            result.tasks.append(NewTask(form.cleaned_data["name"], due, done))
        else:
            reasons = [str(reason) for errors in form.errors.values() for reason in errors]
            result.refused.append(RefusedLine(number, " ".join(reasons)))
    return result


def _rows(text: str) -> Iterator[dict[str, Any]]:
    if text.startswith(("{", "[")):
        yield from _of_json(text)
        return
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [name.strip().lower() for name in reader.fieldnames or ()]
        if "name" not in names:
            raise ValueError("Its first line has no column “name”.")
        reader.fieldnames = names
        for row in reader:
            name = row["name"] or ""
            is_quoted = name.startswith("'") and _FORMULA.match(name)
            yield {**row, "name": name[1:] if is_quoted else name}
    except csv.Error as error:
        raise ValueError(f"It cannot be read as a table: {error}.") from error


def _of_json(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("It begins like JSON, but is not valid JSON.") from error
    rows = found.get("tasks") if isinstance(found, dict) else found
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("It has no list of tasks.")
    return rows
