"""Import files into the files region, where the web pages show them."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from tasks.importing.importer import Importer, NotStored
from tasks.importing.reporting import BarReporter, LineReporter, printable, result
from tasks.importing.walking import Source, SourceError

_KEPT = "What was imported is kept; run the command again for the rest."


class Command(BaseCommand):
    help = (
        "Import a file, or all files of a folder and the folders in it. What has not changed "
        "since it was imported is not read again. Links to files are followed within the source "
        "only; links to folders are passed over."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("source", metavar="SOURCE", help="a folder, or a file")

    def handle(self, *args: Any, **options: Any) -> None:
        reporter: BarReporter | LineReporter
        if self.stderr.isatty():
            reporter = BarReporter(sys.stderr)
        else:
            reporter = LineReporter(self.stdout.write, self.stderr.write)
        try:
            importer = Importer(Source.at(options["source"]), reporter)
        except SourceError as error:
            raise CommandError(printable(str(error))) from error
        try:
            importer.run()
        except SourceError as error:
            raise CommandError(printable(str(error))) from error
        except NotStored as error:
            raise CommandError(f"The files region cannot store more: {error}. {_KEPT}") from error
        except DatabaseError as error:
            raise CommandError(f"The index cannot be written: {error}. {_KEPT}") from error
        except KeyboardInterrupt:
            raise CommandError(f"Interrupted. {_KEPT}", returncode=130) from None
        finally:
            reporter.close()
            if importer.summary.files:
                self.stdout.write(result(importer.summary))
        if importer.summary.failed:
            raise CommandError(
                f"{importer.summary.failed} of {importer.summary.files} files were not imported"
            )
