"""Check the content of all imported files."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError
from django.db.models import Count, Sum

from beaker_regions import counting_imports
from tasks.importing.ending import PARTIAL, EndedError, ended_by_signals
from tasks.importing.garbage import rarely_collected
from tasks.importing.reporting import LineReporter, Names
from tasks.importing.texts import counted
from tasks.importing.unreadable import reason
from tasks.importing.verifying import REASONS, Verified, verify
from tasks.models import ImportedFile


class Command(BaseCommand):
    help = (
        "Check that the content of every imported file is stored and has its digest. Name the "
        "files that fail. Damaged content is removed: the next import of its source, or the next "
        "visitor, reads it again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json",
            action="store_true",
            help="end with one JSON object on the standard output; all else goes to standard error",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        reporter = LineReporter(self._say_aside, Names(self._say_aside, self._say_aside))
        numbers: Counter[str] = Counter()
        faults = []
        error = None
        with ended_by_signals():
            try:
                found = ImportedFile.objects.aggregate(files=Count("pk"), size=Sum("size"))
                reporter.begin(found["files"], found["size"] or 0)
                with counting_imports(), rarely_collected():
                    for file in verify():
                        numbers[file.state] += 1
                        if file.state in REASONS:
                            faults.append(file)
                            reporter.failed(file.path, _reason(file))
                        else:
                            reporter.advance(file.size)
                            reporter.done(file.path, "unchanged")
            except (DatabaseError, InterfaceError) as unreadable:
                error = CommandError(f"The index cannot be read: {reason(unreadable)}")
            except KeyboardInterrupt as ended:
                status = ended.status if isinstance(ended, EndedError) else 130
                error = CommandError(str(ended) or "Interrupted", returncode=status)
        if faults and error is None:
            error = CommandError(
                f"{len(faults)} of {counted(numbers.total(), 'file')} cannot be served before "
                "they are read again: import their sources again",
                returncode=PARTIAL,
            )
        if options["json"]:
            report: dict[str, Any] = {
                "files": numbers.total(),
                **{state: numbers[state] for state in ("whole", "expired", *REASONS)},
                "faults": [file._asdict() for file in faults],
                "error": None if error is None else str(error),
            }
            self.stdout.write(json.dumps(report))
        else:
            states = ["whole", *sorted(set(numbers) - {"whole"})]
            self.stdout.write(", ".join(f"{numbers[state]} {state}" for state in states))
        if error is not None:
            raise error

    def _say_aside(self, line: str) -> None:
        # Progress is not an error, so it does not get the style of one.
        self.stderr.write(line, lambda text: text)


def _reason(file: Verified) -> str:
    return f"{REASONS[file.state]}; its source is {file.source}"
