"""Import files into the files region, where the web pages show them."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from beaker_regions import counting_imports
from tasks.importing import arguments
from tasks.importing.ending import PARTIAL, EndedError, ended_by_signals, read_no_more
from tasks.importing.garbage import rarely_collected
from tasks.importing.importer import Importer, ImportOptions
from tasks.importing.locating import source_at, source_shown
from tasks.importing.log import BadLogError, logging_to
from tasks.importing.progress import Summary
from tasks.importing.reporting import BarReporter, LineReporter, Names, result, result_json
from tasks.importing.room import RegionFullError
from tasks.importing.runs import Recorder
from tasks.importing.selection import Selection, patterns_in
from tasks.importing.sources import Source, SourceError, SourceOptions
from tasks.importing.texts import counted, printable
from tasks.importing.unreadable import reason
from tasks.importing.url_lists import ListSource, read_list
from tasks.sources.archives.formats import SUFFIXES
from tasks.sources.archives.limits import Limits
from tasks.sources.fetching.access import Access, BadAccessError, access_of
from tasks.sources.fetching.connections import use_access
from tasks.sources.fetching.patience import SLOW_SECONDS, Patience, use_patience
from tasks.sources.pace import use_pace

if TYPE_CHECKING:
    from collections.abc import Callable

_UNRECORDED = (
    "note: the database did not take the end of this run; manage.py imports shows it as killed"
)
_KEPT = "Imported files are kept; run the command again for the rest."


class Command(BaseCommand):
    requires_system_checks = ("regions",)  # those of the URLs and the models load all pages
    help = (
        "Import the files of a folder and its subfolders, of an archive (without unpacking it), or "
        "a single file, on disk or at a URL. Unchanged files are not read again, and interrupted "
        "downloads continue. Links to files are followed within the source only; links to folders "
        "are skipped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "source",
            metavar="SOURCE",
            nargs="?",
            help=f"a folder, a file, an archive ({', '.join(SUFFIXES)}), or the http(s) URL of a "
            "file or an archive; or a manifest such as SHA256SUMS, on disk or at a URL, with its "
            "files beside it; or, with the package fsspec, a folder or a file at an s3://, gs://, "
            "sftp:// or another of its URLs",
        )
        parser.add_argument(
            "-i",
            "--input-file",
            metavar="FILE",
            help="in place of SOURCE: import the URLs of FILE (- for the standard input), one a "
            "line; behind a URL may stand the name of its file on the site",
        )
        pattern = "a pattern of paths below SOURCE, where * matches any text, '/' included"
        parser.add_argument(
            "--include",
            metavar="GLOB",
            action="append",
            default=[],
            help=f"import only matching files: {pattern}; may be repeated",
        )
        parser.add_argument(
            "--exclude",
            metavar="GLOB",
            action="append",
            default=[],
            help="do not import matching files, even if they are included, nor anything in "
            "matching folders; a pattern without '/' also matches names at any depth, such as "
            "node_modules; may be repeated",
        )
        parser.add_argument(
            "--exclude-from",
            metavar="FILE",
            action="append",
            default=[],
            help="as --exclude, with the patterns of FILE, one a line",
        )
        parser.add_argument(
            "--into",
            metavar="FOLDER",
            type=arguments.folder,
            help="put the files into this folder of the site, such as manuals/2024, so that files "
            "of several sources may have the same names",
        )
        parser.add_argument(
            "--replace",
            action="store_true",
            help="put files in the place of those that other sources have under the same names; "
            "without it these are refused",
        )
        parser.add_argument(
            "--as-file",
            action="store_true",
            help="import an archive or a manifest as the one file that it is",
        )
        parser.add_argument(
            "--archive-limit",
            metavar="NAME=N",
            type=arguments.archive_limit,
            action="append",
            default=[],
            help="let an archive have more, or less, of something: members (names in it; "
            f"{Limits().members} without this), size (bytes of all its files; 1T), file (bytes of "
            "one file; 1T), or ratio (bytes of its files for each of its own; "
            f"{Limits().ratio}); may be repeated",
        )
        parser.add_argument(
            "--name",
            metavar="NAME",
            type=arguments.name,
            help="the name on the site of the one file at a URL, such as reports/latest.pdf",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="name the files that would be imported and forgotten, and change nothing",
        )
        parser.add_argument("--force", action="store_true", help="read unchanged files again, too")
        parser.add_argument(
            "--keep",
            action="store_true",
            help="keep the content of files that are no longer in SOURCE, which otherwise goes "
            "some time after it has expired",
        )
        parser.add_argument(
            "--prune",
            action="store_true",
            help="forget files that were imported from SOURCE and are no longer in it; with "
            "--include and --exclude, only selected files",
        )
        parser.add_argument(
            "--max-forget",
            metavar="N",
            type=arguments.files,
            help="let --prune forget N files at most, and none if there are more; the default is "
            "half of the files of SOURCE",
        )
        parser.add_argument(
            "--jobs",
            metavar="N",
            type=arguments.jobs,
            help="read N files at once; the default is 4 from a URL, 1 from a tar, and one for "
            "each processor from a folder or a zip of many files",
        )
        parser.add_argument(
            "--headers",
            metavar="FILE",
            help="send the headers of FILE, one a line (Authorization: Bearer TOKEN), to the "
            "server of SOURCE and to no other",
        )
        parser.add_argument(
            "--netrc", metavar="FILE", help="take logins of servers from FILE, such as ~/.netrc"
        )
        parser.add_argument(
            "--ca",
            metavar="FILE",
            help="trust servers whose certificate is signed by an authority in FILE (PEM), instead "
            "of the system's",
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help="end with one JSON object on the standard output; all else goes to standard error",
        )

        parser.add_argument(
            "--retries",
            metavar="N",
            type=arguments.retries,
            default=Patience().retries,
            help="repeat a request N times after a failure that may pass; the default is "
            "%(default)s; after each 64 KB that are received, the count begins again",
        )
        parser.add_argument(
            "--min-speed",
            metavar="RATE",
            type=arguments.rate,
            default=Patience().slowest,
            help="break off a transfer that is slower than RATE bytes a second for "
            f"{SLOW_SECONDS:.0f} s, and continue it with another request; the default is 1K",
        )
        parser.add_argument(
            "--bwlimit",
            metavar="RATE",
            type=arguments.rate,
            help="read at most RATE bytes a second, all jobs together; K, M and G mean the powers "
            "of 1024",
        )
        parser.add_argument(
            "-q",
            "--quiet",
            dest="verbosity",
            action="store_const",
            const=0,
            help="name failures only, as --verbosity 0 does; -v names the files that are imported, "
            "and -vv those that are unchanged, too",
        )
        parser.add_argument(
            "--log-file",
            metavar="FILE",
            help="add what the run does to FILE, each line with its time",
        )

    def run_from_argv(self, argv: list[str]) -> None:
        # Django's -v wants a number; alone it means 2, as elsewhere.
        numbers = {"-v": "-v2", "-vv": "-v3"}
        super().run_from_argv(
            [
                each if following.isdecimal() else numbers.get(each, each)
                for each, following in zip(argv, [*argv[1:], ""], strict=True)
            ]
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["source"]) == bool(options["input_file"]):
            raise CommandError("give either SOURCE or --input-file FILE", returncode=2)
        if options["input_file"] and options["name"]:
            raise CommandError("write the names of files behind their URLs", returncode=2)
        try:
            exclude = [*options["exclude"], *chain(*map(patterns_in, options["exclude_from"]))]
        except OSError as unreadable:
            raise CommandError(f"--exclude-from cannot be read: {unreadable}") from unreadable
        selection = Selection(tuple(options["include"]), tuple(exclude))
        import_options = ImportOptions(
            selection,
            max_forget=options["max_forget"],
            into=options["into"] or "",
            replace=options["replace"],
            force=options["force"],
            prune=options["prune"],
            keep=options["keep"],
            dry_run=options["dry_run"],
            jobs=options["jobs"],
        )
        try:
            with logging_to(options["log_file"]) as log:
                self._run(options, import_options, log)
        except BadLogError as error:
            raise CommandError(f"--log-file: {error}") from error

    def _run(
        self, options: dict[str, Any], import_options: ImportOptions, log: Callable[[str], None]
    ) -> None:
        """Run the import. Raises CommandError with the exit status unless all was imported."""
        name: str = options["source"] or ""
        listed: str = options["input_file"] or ""
        verbosity: int = options["verbosity"]
        say: Callable[[str], None] = self._say_aside if options["json"] else self._say
        if not verbosity:
            say = _say_nothing
        reporter: BarReporter | LineReporter
        if self.stderr.isatty() and verbosity:
            reporter = BarReporter(sys.stderr, log, verbosity)
        else:
            reporter = LineReporter(say, Names(say, self.stderr.write, log, verbosity))
        shown = source_shown(name or listed)
        log(f"import of {shown}")
        summary, error, recorder = Summary(), None, None
        with ended_by_signals():
            try:
                use_patience(Patience(options["retries"], options["min_speed"], reporter.said))
                if not import_options.dry_run:
                    recorder = Recorder(shown, import_options.into)
                urls = read_list(listed) if listed else None
                server = name if urls is None or not options["headers"] else urls.server
                use_access(access_of(server, options["headers"], options["netrc"], options["ca"]))
                use_pace(options["bwlimit"])
                source: Source
                if urls is not None:
                    source = ListSource(urls, import_options.into, import_options.jobs)
                else:
                    source = source_at(
                        name,
                        SourceOptions(
                            import_options.into,
                            as_file=options["as_file"],
                            name=options["name"] or "",
                            fetching=reporter,
                            keep=options["keep"],
                            leaves_out=import_options.selection.excludes,
                            limits=Limits(**dict(options["archive_limit"])),
                        ),
                    )
                many = (import_options.jobs or 1) > source.max_jobs
                if many:
                    import_options = replace(import_options, jobs=None)
                wrote = _say_nothing if recorder is None else recorder.progress
                importer = Importer(source, reporter, import_options, wrote)
                summary = importer.summary
                if many:
                    summary.notes.append("such an archive is read by one job, whatever --jobs says")
                with counting_imports(), rarely_collected():
                    importer.run()
            except (
                BadAccessError,
                SourceError,
                RegionFullError,
                DatabaseError,
                InterfaceError,
                KeyboardInterrupt,
            ) as raised:
                error = _failure(raised)
            finally:
                reporter.close()
                use_access(Access())
                use_pace(None)
                use_patience(Patience())
        if error is None:
            summary.notes += [
                f"the pattern {each!r} matched nothing"
                for each in import_options.selection.unmatched()
            ]
        line = result(summary, import_options)
        for each in (*(f"note: {note}" for note in summary.notes), line):
            log(each)
        for note in summary.notes if verbosity else ():
            self._say_aside(f"note: {note}")
        with contextlib.suppress(EndedError):
            if options["json"]:
                self._say(result_json(summary, import_options, str(error) if error else None))
            elif summary.files or summary.kept:
                say(line)
        error = error or _incomplete(summary)
        status = 0 if error is None else error.returncode
        log(f"exit status {status}{'' if error is None else f': {error}'}")
        text = "" if error is None else str(error)
        if recorder is not None and not recorder.end(summary, status, text):
            log(_UNRECORDED)
            self._say_aside(_UNRECORDED)
        if error is not None:
            raise error

    def _say(self, line: str) -> None:
        """Write a line to the standard output. Raises EndedError if nobody reads it any more."""
        try:
            self.stdout.write(line)
            self.stdout.flush()
        except BrokenPipeError:
            raise read_no_more(self.stdout._out) from None

    def _say_aside(self, line: str) -> None:
        # Progress is not an error, so it does not get the style of one.
        self.stderr.write(line, lambda text: text)


def _say_nothing(_: object) -> None:
    pass


def _incomplete(summary: Summary) -> CommandError | None:
    """Return the error of a run that came to its end, unless it did all that it should."""
    if summary.failed:
        were = "was" if summary.files == 1 else "were"
        return CommandError(
            f"{summary.failed} of {counted(summary.files, 'file')} {were} not imported",
            returncode=PARTIAL,
        )
    if summary.evicted:
        return CommandError(
            f"{summary.evicted} files and other entries that had not expired were removed from "
            "the files region to make room; set REGIONS_FILES_SIZE_LIMIT to more, and import "
            "their sources again",
            returncode=PARTIAL,
        )
    return None


def _failure(error: BaseException) -> CommandError:
    """Return the error message for the exception that ended a run."""
    if isinstance(error, RegionFullError):
        return CommandError(f"The files region cannot store more: {error}. {_KEPT}")
    if isinstance(error, DatabaseError | InterfaceError):
        return CommandError(f"The index cannot be written: {reason(error)}. {_KEPT}")
    if isinstance(error, EndedError):
        return CommandError(f"{error}. {_KEPT}", returncode=error.status)
    if isinstance(error, KeyboardInterrupt):
        return CommandError(f"Interrupted. {_KEPT}", returncode=130)
    return CommandError(printable(str(error)))
