"""Which aims of speed are met, by the results in a folder: ``python -m bench [FOLDER]``."""

from __future__ import annotations

import argparse
import json
import operator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from bench.report import RESULTS, Row, table

COMPARED = {"<=": operator.le, ">=": operator.ge}
SAME = "work", "value", "tasks", "entries", "size", "servers"
"""The columns that say what was done: two rows that have the same there are compared."""


class Aim(NamedTuple):
    """A bound for a column of some rows of a result."""

    work: str
    bound: str
    name: str
    """Of the result."""
    column: str
    rows: dict[str, Any]
    """What they have in other columns; a text may be a pattern."""
    beside: dict[str, Any]
    """What another row has there, if the figure is the ratio to that row's."""


def aim(
    work: str, bound: str, name: str, column: str, beside: Row | None = None, /, **rows: Any
) -> Aim:
    return Aim(work, bound, name, column, {"contender": "regions", **rows}, beside or {})


def hit(work: str, bound: str, value: str, to: str, contender: str = "regions") -> Aim:
    return aim(work, bound, "hit", "ratio of least", value=value, to=to, contender=contender)


def brought(work: str, bound: str, case: str, column: str, /, **rows: Any) -> Aim:
    return aim(work, bound, f"imports_{case}", column, contender="import_data", **rows)


DOGPILE = "dogpile.cache, pylibmc"
COROUTINE: Row = {"value": "50 rows", "to": "aiocache"}
PAGE: Row = {"contender": "", "stage": "the whole page, with holes"}
GUIDE: Row = {"stage": "guide: the whole page, no CSRF protection"}
AIMS = [
    hit("hit of 50 rows, to dogpile.cache on pylibmc", "<= 0.95", "50 rows", DOGPILE),
    hit("hit of 10 KB, to the same", "<= 1.0", "10 KB of bytes", DOGPILE),
    hit("hit of a tuple, to a bare get", "<= 1.0", "50 rows in a tuple", "python-memcached, p*"),
    hit("hit with an enum, to integers", "<= 1.05", "50 rows", "*integers", "regions, an enum"),
    aim("coroutine's hit, to aiocache", "<= 0.5", "coroutines", "ratio", tasks=1, **COROUTINE),
    aim("the same, 50 tasks", "<= 0.35", "coroutines", "ratio", tasks=50, **COROUTINE),
    aim("longest step of the event loop, us", "<= 1000", "coroutines", "longest step, us"),
    aim("page, to the empty view", ">= 0.65", "pages", "to the empty view", **PAGE),
    aim("page, to the guides' page", ">= 1.0", "pages", "requests/s", GUIDE, **PAGE),
    aim("file of 10 KB, to open().read()", "<= 2.5", "files", "ratio of least", size="10 KB"),
    aim("file of 1 MB, to open().read()", "<= 1.2", "files", "ratio of least", size="1 MB"),
    aim("file, to diskcache", "<= 1.0", "files", "us, least", {"contender": "diskcache"}),
    aim(
        "rounds to change a tag", "<= 2.4", "scale", "rounds", contender="", what="rounds of a tag*"
    ),
    aim("rounds of many of 50", "<= 1.2", "scale", "rounds", contender="", what="rounds of many*"),
    brought(
        "import over HTTP, to curl and sync", "<= 1.0", "http", "to *, sync", work="*4 at once"
    ),
    brought("the same, to curl alone", "<= 1.18", "http", "to *sum", work="*4 at once"),
    brought("120,000 small files, files/s", ">= 4000", "folders", "files/s", work="120,000*first"),
    brought("120,000 files again, s", "<= 5", "folders", "seconds", work="120,000*again*"),
    brought("small files over nginx, to curl", "<= 1.5", "nginx", "to curl*"),
    brought("zip, to unzip", "<= 1.5", "archives", "to unzip", work="*.zip*"),
    brought("tar.gz, to tar", "<= 1.5", "archives", "to tar", work="*.tar.gz*"),
]


def checked(aim: Aim, folder: Path) -> Row:
    """Return an aim beside its worst figure, and the day of the measurement."""
    row: Row = {"work": aim.work, "aim": aim.bound, "figure": "not measured"}
    try:
        result = json.loads((folder / f"{aim.name}.json").read_text())
    except FileNotFoundError:
        return row
    found = figures(aim, result["rows"])
    if not found:
        return row
    sign, limit = aim.bound.split()
    figure = (max if sign == "<=" else min)(found)
    met = COMPARED[sign](figure, float(limit))
    return row | {"figure": figure, "": "met" if met else "NOT MET", "date": result.get("date", "")}


def figures(aim: Aim, rows: list[Row]) -> list[float]:
    """Return the figures of all rows that an aim is about."""
    found = []
    for row in rows:
        values = [row[name] for name in row if fnmatchcase(name, aim.column) and row[name] != ""]
        if not values or not is_like(row, aim.rows):
            continue
        if aim.beside:
            same = {name: row[name] for name in SAME if name in row}
            values = [
                values[0] / other[aim.column]
                for other in rows
                if is_like(other, aim.beside) and same.items() <= other.items()
            ]
        found += values
    return found


def is_like(row: Row, wanted: dict[str, Any]) -> bool:
    """Whether a row has what is wanted; texts are patterns."""
    return all(fnmatchcase(str(row.get(name, "")), str(each)) for name, each in wanted.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=RESULTS, metavar="FOLDER")
    folder = parser.parse_args().folder
    print(table([checked(aim, folder) for aim in AIMS]))


if __name__ == "__main__":
    main()
