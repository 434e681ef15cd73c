"""The import beside the tools that an operator would take instead.

    python -m bench.imports [CASE ...] [--quick | --full] [--output FOLDER]

The cases are ``folders``, ``nginx``, ``archives``, ``http`` and ``killed``; without any, all. Every
contender begins with nothing and ends with all files on disk. The peers are Debian's rsync, rclone,
restic, unzip, tar, and curl with sha256sum, each with ``sync`` after it, since the import syncs.
Each case has a file of results, which is written after each kind of work.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.imports import archives, folders, http, killed, nginx
from bench.imports.turns import measure
from bench.report import Row, arguments, report, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.imports.turns import Case


class Scale(NamedTuple):
    """How much work there is."""

    folders: int
    """Small files in a folder."""
    nginx: int
    """Small files over nginx."""
    archives: int
    """Files in an archive."""
    http: int
    """Megabytes of all files over HTTP, of 1 KB to 500 MB."""
    kills: int
    turns: int
    """At most, of each kind of work."""
    seconds: float
    """After which another turn of the same work does not end."""


QUICK = Scale(500, 200, 200, 50, 2, 1, 0)
USUAL = Scale(8_000, 5_136, 2_000, 500, 10, 3, 40)
FULL = Scale(120_000, 5_136, 12_261, 2_005, 50, 2, 90)
CASES: dict[str, Callable[[Path, int], Iterator[Case]]] = {
    "folders": folders.cases,
    "nginx": nginx.cases,
    "archives": archives.cases,
    "http": http.cases,
}
KILLED = "killed"


def main() -> None:
    given = arguments(__doc__, (*CASES, KILLED), full="as many files as in a real site")
    scale = QUICK if given.quick else FULL if given.full else USUAL
    # So that a run that is ended leaves no files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = Path(tempfile.mkdtemp(prefix="bench-imports-", dir="/var/tmp"))
    try:
        for name in given.cases or (*CASES, KILLED):
            run(name, folder, scale, given)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(name: str, folder: Path, scale: Scale, given: argparse.Namespace) -> None:
    inside = folder / name
    inside.mkdir()
    result = f"imports_{name}"
    if name == KILLED:
        report(result, given, {}, [killed.measure(inside, scale.http, scale.kills)])
        return
    rows: list[Row] = []
    for case in CASES[name](inside, getattr(scale, name)):
        rows += measure(case, inside, scale.turns, scale.seconds)
        settings = {"files": case.files, "bytes": case.size}
        # A run that is ended leaves what it has measured.
        write(result, given, settings, rows)
    report(result, given, settings, rows)


if __name__ == "__main__":
    main()
