"""Shows the progress of an import: as a bar on a terminal, and as lines anywhere else."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, NoReturn, TextIO

from tqdm import tqdm

from tasks.importing.texts import counted, human, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.importing.importer import ImportOptions
    from tasks.importing.progress import Change, Summary

INTERVAL = 5.0
"""Seconds between two lines, without a terminal."""
FILE_COST = 64 * 1024
"""Bytes that could be read in the time that opening a file takes. The bar counts them for each
file, so that it moves evenly over many small files and a few large ones."""


class _Progress:
    """The number of files and bytes in all, and the numbers that are done."""

    def __init__(self, files: int, size: int) -> None:
        self.files = files
        self.size = size
        self.done_files = self.done_size = self.read_size = 0
        self._started = time.monotonic()

    @property
    def cost(self) -> int:
        return self.size + self.files * FILE_COST

    @property
    def rate(self) -> float:
        """Bytes read a second."""
        return self.read_size / max(time.monotonic() - self._started, 0.001)

    @property
    def left(self) -> str:
        """The time that is left, as the end of a line; empty until as much as a file is done."""
        done = self.done_size + self.done_files * FILE_COST
        if done < FILE_COST:
            return ""
        seconds = (time.monotonic() - self._started) * max(0, self.cost - done) / done
        return f", {seconds:.0f} s left"

    def __str__(self) -> str:
        files = f"{self.done_files} of {counted(self.files, 'file')}"
        done = f"{files}, {human(self.done_size)} of {human(self.size)}"
        return f"{done}, {human(self.rate)}/s" if self.read_size else done


class Names:
    """The lines that name files. A log gets them all, except those of unchanged files."""

    def __init__(
        self,
        out: Callable[[str], None],
        err: Callable[[str], None],
        log: Callable[[str], None] | None = None,
        verbosity: int = 1,
    ) -> None:
        """``verbosity``: 0 names failures, 1 what was skipped too, 2 files that were imported, and
        3 those that are unchanged."""
        self._out = out
        self._err = err
        self._log = log
        self._verbosity = verbosity

    def done(self, path: str, change: Change) -> None:
        if change != "unchanged":
            self._say(self._out, f"{change} {printable(path)}", 2)
        elif self._verbosity >= 3:
            self._out(f"unchanged {printable(path)}")

    def failed(self, path: str, reason: str) -> None:
        self._say(self._err, f"{printable(path)}: {printable(reason)}", 0)

    def skipped(self, path: str, reason: str) -> None:
        self._say(self._err, f"{printable(path)}: {printable(reason)}", 1)

    def said(self, line: str) -> None:
        self._say(self._err, printable(line), 1)

    def planned(self, action: str, path: str) -> None:
        self._say(self._out, f"would {action} {printable(path)}", 1)

    def _say(self, say: Callable[[str], None], line: str, least: int) -> None:
        if self._log is not None:
            self._log(line)
        if self._verbosity >= least:
            say(line)


class BarReporter:
    """A progress bar, below the lines that name files."""

    def __init__(self, terminal: TextIO, log: Callable[[str], None], verbosity: int) -> None:
        def write(line: str) -> None:
            tqdm.write(line, file=terminal)

        self._terminal = terminal
        self._names = Names(write, write, log, verbosity)
        self._progress = _Progress(0, 0)
        self._bar: tqdm[NoReturn] | None = None

    def fetch(self, url: str, size: int) -> None:
        self._begin_archive(_archive("fetching", url, size), size)

    def unpack(self, archive: str, size: int) -> None:
        self._begin_archive(_archive("unpacking", archive, size), size)

    def _begin_archive(self, line: str, size: int) -> None:
        self.close()
        tqdm.write(line, file=self._terminal)
        self.begin(1, size)

    def begin(self, files: int, size: int) -> None:
        self.close()
        self._progress = _Progress(files, size)
        self._bar = tqdm(
            total=self._progress.cost,
            bar_format="{percentage:3.0f}%|{bar}| {desc}, {remaining} left",
            # A terminal that reports no size is taken to be 80 columns wide.
            dynamic_ncols=os.get_terminal_size(self._terminal.fileno()).columns > 0,
            ncols=80,
            file=self._terminal,
        )
        self._bar.set_description_str(str(self._progress))

    def expect(self, size: int) -> None:
        self._progress.size += size
        if self._bar is not None:
            self._bar.total = self._progress.cost

    def advance(self, size: int) -> None:
        self._progress.read_size += size
        self.pass_over(size)

    def pass_over(self, size: int) -> None:
        self._progress.done_size += size
        self._update(size)

    def done(self, path: str, change: Change) -> None:
        self._names.done(path, change)
        self._count()

    def failed(self, path: str, reason: str) -> None:
        self._names.failed(path, reason)
        self._count()

    def skipped(self, path: str, reason: str) -> None:
        self._names.skipped(path, reason)
        self._count()

    def planned(self, action: str, path: str) -> None:
        self._names.planned(action, path)

    def said(self, line: str) -> None:
        """Report a failure after which there is another try."""
        self._names.said(line)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.set_description_str(str(self._progress))
            self._bar.close()

    def _count(self) -> None:
        self._progress.done_files += 1
        self._update(FILE_COST)

    def _update(self, cost: int) -> None:
        # update() returns True if it has drawn the bar, a few times a second. Set the next text.
        if self._bar is not None and self._bar.update(cost):
            self._bar.set_description_str(str(self._progress), refresh=False)


class LineReporter:
    """One line every few seconds, between the lines that name files."""

    def __init__(self, out: Callable[[str], None], names: Names) -> None:
        self._out = out
        self._names = names
        self._progress = _Progress(0, 0)
        self._printed = 0.0

    def fetch(self, url: str, size: int) -> None:
        self._out(_archive("fetching", url, size))
        self._progress = _Progress(1, size)

    def unpack(self, archive: str, size: int) -> None:
        self._out(_archive("unpacking", archive, size))
        self._progress = _Progress(1, size)

    def begin(self, files: int, size: int) -> None:
        self._progress = _Progress(files, size)
        self._printed = time.monotonic()
        self._out(counted(files, "file") + (f", {human(size)}" if size else ""))

    def expect(self, size: int) -> None:
        self._progress.size += size

    def advance(self, size: int) -> None:
        self._progress.read_size += size
        self.pass_over(size)

    def pass_over(self, size: int) -> None:
        self._progress.done_size += size
        self._print()

    def done(self, path: str, change: Change) -> None:
        self._names.done(path, change)
        self._count()

    def failed(self, path: str, reason: str) -> None:
        self._names.failed(path, reason)
        self._count()

    def skipped(self, path: str, reason: str) -> None:
        self._names.skipped(path, reason)
        self._count()

    def planned(self, action: str, path: str) -> None:
        self._names.planned(action, path)

    def said(self, line: str) -> None:
        """Report a failure after which there is another try."""
        self._names.said(line)

    def close(self) -> None:
        """Nothing is open."""

    def _count(self) -> None:
        self._progress.done_files += 1
        self._print()

    def _print(self) -> None:
        if time.monotonic() - self._printed >= INTERVAL:
            self._printed = time.monotonic()
            self._out(f"{self._progress}{self._progress.left}")


def _archive(doing: str, name: str, size: int) -> str:
    return f"{doing} {printable(name)}{f', {human(size)}' if size else ''}"


def result(summary: Summary, options: ImportOptions) -> str:
    """Return the last line of a run."""
    forgotten = f", {summary.forgotten} forgotten" if options.prune else ""
    forgotten += f", {summary.kept} kept" if options.keep else ""
    skipped = f", {summary.skipped} skipped" if summary.skipped else ""
    evicted = f", {summary.evicted} evicted" if summary.evicted else ""
    read = f"{human(summary.size)} read"
    if summary.imported and summary.size != summary.imported_size and not options.dry_run:
        # A transfer began again, or a former run has received a part.
        read += f" for {human(summary.imported_size)}"
    return (
        f"{'rehearsed, nothing changed: ' if options.dry_run else ''}"
        f"{summary.imported} imported, {summary.unchanged} unchanged, {summary.failed} failed"
        f"{skipped}{forgotten}{evicted}; {read} in {summary.seconds:.1f} s"
    )


def result_json(summary: Summary, options: ImportOptions, error: str | None) -> str:
    """Return the result as one JSON object: numbers of files, ``imported_bytes`` of those that were
    imported, ``bytes`` read, ``seconds``, whether the run was a rehearsal (``dry_run``), the
    ``error`` that ended it early, or null, and each failure and each skipped name with its ``path``
    and ``reason``."""
    return json.dumps(
        {
            "imported": summary.imported,
            "changed": summary.changed,
            "unchanged": summary.unchanged,
            "failed": summary.failed,
            "skipped": summary.skipped,
            "forgotten": summary.forgotten,
            "kept": summary.kept,
            "evicted": summary.evicted,
            "imported_bytes": summary.imported_size,
            "bytes": summary.size,
            "seconds": round(summary.seconds, 3),
            "dry_run": options.dry_run,
            "error": error,
            "notes": summary.notes,
            "failures": _names(summary.failures),
            "skips": _names(summary.skips),
        }
    )


def _names(reasons: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"path": path, "reason": reason} for path, reason in reasons]
