"""Import files into the files region, where the web pages show them."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from tasks.importing.importer import Importer, ImportOptions, RegionFullError
from tasks.importing.locating import source_at
from tasks.importing.progress import Summary
from tasks.importing.reporting import BarReporter, LineReporter, printable, result, result_json
from tasks.importing.selection import Selection
from tasks.importing.sources import MAX_JOBS, SourceError
from tasks.sources.archives.formats import SUFFIXES

_KEPT = "What was imported is kept; run the command again for the rest."


class Command(BaseCommand):
    help = (
        "Import a file, or all files of a folder and the folders in it, or of an archive, which "
        "is not unpacked, or of a URL. What has not changed since it was imported is not read "
        "again, and what broke off is continued. Links to files are followed within the source "
        "only; links to folders are passed over. An archive at a URL is imported as one file."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "source",
            metavar="SOURCE",
            help=f"a folder, a file, an archive ({', '.join(SUFFIXES)}), or an http(s) URL: of a "
            "file, or of a manifest such as SHA256SUMS, whose files lie beside it",
        )
        pattern = "a pattern of paths below SOURCE, where * stands for any text, '/' included"
        parser.add_argument(
            "--include",
            metavar="GLOB",
            action="append",
            default=[],
            help=f"import only what matches: {pattern}; may be repeated",
        )
        parser.add_argument(
            "--exclude",
            metavar="GLOB",
            action="append",
            default=[],
            help="do not import what matches, though it is included; may be repeated",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="say what would be imported, and forgotten, and change nothing",
        )
        parser.add_argument(
            "--force", action="store_true", help="read again what has not changed, too"
        )
        parser.add_argument(
            "--prune",
            action="store_true",
            help="forget what was imported from SOURCE, and what SOURCE has not any more; with "
            "--include and --exclude, only what they mean",
        )
        parser.add_argument(
            "--jobs",
            metavar="N",
            type=_jobs,
            help="read so many files at once; usually 4 from a URL, and 1 from elsewhere",
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help="end with one JSON object on the standard output, and say all else elsewhere",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        import_options = ImportOptions(
            Selection(tuple(options["include"]), tuple(options["exclude"])),
            force=options["force"],
            prune=options["prune"],
            dry_run=options["dry_run"],
            jobs=options["jobs"],
        )
        reporter: BarReporter | LineReporter
        if self.stderr.isatty():
            reporter = BarReporter(sys.stderr)
        else:
            say = self._say_aside if options["json"] else self.stdout.write
            reporter = LineReporter(say, self.stderr.write)
        summary, error = Summary(), None
        try:
            importer = Importer(source_at(options["source"]), reporter, import_options)
            summary = importer.summary
            importer.run()
        except (SourceError, RegionFullError, DatabaseError, KeyboardInterrupt) as raised:
            error = _failure(raised)
        finally:
            reporter.close()
        if options["json"]:
            self.stdout.write(result_json(summary, import_options, str(error) if error else None))
        elif summary.files:
            self.stdout.write(result(summary, import_options))
        if error is not None:
            raise error
        if summary.failed:
            raise CommandError(f"{summary.failed} of {summary.files} files were not imported")

    def _say_aside(self, line: str) -> None:
        # Progress is no error, and has none of an error's style.
        self.stderr.write(line, lambda text: text)


def _jobs(value: str) -> int:
    jobs = int(value) if value.isdecimal() else 0
    if not 1 <= jobs <= MAX_JOBS:
        raise ArgumentTypeError(f"{value!r} is no number from 1 to {MAX_JOBS}")
    return jobs


def _failure(error: BaseException) -> CommandError:
    """Return what ended a run, as its operator is told."""
    if isinstance(error, RegionFullError):
        return CommandError(f"The files region cannot store more: {error}. {_KEPT}")
    if isinstance(error, DatabaseError):
        return CommandError(f"The index cannot be written: {error}. {_KEPT}")
    if isinstance(error, KeyboardInterrupt):
        return CommandError(f"Interrupted. {_KEPT}", returncode=130)
    return CommandError(printable(str(error)))
