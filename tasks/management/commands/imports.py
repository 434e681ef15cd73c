"""``manage.py imports``: the last runs of the import."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from tasks.importing.runs import KEPT, end_of, latest, seconds_of
from tasks.importing.texts import human, printable
from tasks.importing.unreadable import reason

_COLUMNS = (
    *("started", "source", "took", "new", "changed", "unchanged", "skipped", "failed"),
    *("read", "end"),
)


class Command(BaseCommand):
    help = "Show the last runs of import_data, the last one first, and how they ended."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--limit",
            metavar="N",
            type=_number,
            default=20,
            help=f"show N runs (20; {KEPT} are kept)",
        )
        parser.add_argument(
            "--json", action="store_true", help="write a JSON array, with the error of each run"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            runs = latest(options["limit"])
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"The index cannot be read: {reason(error)}") from error
        if options["json"]:
            fields = (
                *("id", "source", "into", "started_at", "ended_at", "host", "status", "error"),
                *("new", "changed", "unchanged", "skipped", "failed", "forgotten"),
            )
            found = [
                {name: getattr(run, name) for name in fields}
                | {"bytes": run.size, "seconds": round(seconds_of(run), 3), "end": end_of(run)}
                for run in runs
            ]
            self.stdout.write(json.dumps(found, default=str))
            return
        if not runs:
            self.stdout.write("Nothing was imported yet")
            return
        rows = [
            [
                f"{timezone.localtime(run.started_at):%Y-%m-%d %H:%M:%S}",
                printable(run.source) + (f" into {printable(run.into)}" if run.into else ""),
                f"{seconds_of(run):.1f} s",
                *(f"{each}" for each in (run.new, run.changed, run.unchanged)),
                *(f"{each}" for each in (run.skipped, run.failed)),
                human(run.size),
                end_of(run),
            ]
            for run in runs
        ]
        table = [list(_COLUMNS), *rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self.stdout.write("  ".join(cells).rstrip())


def _number(value: str) -> int:
    number = int(value) if value.isdecimal() else 0
    if not 1 <= number <= KEPT:
        raise ArgumentTypeError(f"{value!r} is not a number from 1 to {KEPT}")
    return number
