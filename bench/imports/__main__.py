"""The import beside the tools that an operator would take instead.

    python -m bench.imports [CASE ...] [--quick | --full] [--megabytes N]

The cases are ``folders``, ``nginx``, ``archives`` and ``http``; without any, all. Every contender
begins with nothing and ends with all files on disk. The peers are Debian's rsync, rclone, restic,
unzip, tar, and curl with sha256sum, each with ``sync`` after it, since the import syncs.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench.imports import archives, folders, http, nginx
from bench.imports.places import MB
from bench.imports.turns import Case, Import, measure
from bench.report import Row, report


class Scale(NamedTuple):
    """How much work there is."""

    tree: int
    """Small files in a folder."""
    served: int
    """Small files over nginx."""
    packed: int
    """Files in an archive."""
    megabytes: int
    """Of all files over HTTP, of 1 KB to 500 MB."""
    repeats: int


QUICK = Scale(1_000, 500, 500, 200, 1)
USUAL = Scale(20_000, 5_136, 4_000, 1_000, 3)
FULL = Scale(120_000, 5_136, 12_261, 2_005, 2)
CASES = "folders", "nginx", "archives", "http"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cases", metavar="CASE", nargs="*", help=", ".join(CASES))
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--full", action="store_true", help="as many files as in a real site")
    parser.add_argument("--output", type=Path, help="the JSON file (default: bench/results)")
    given = parser.parse_args()
    scale = QUICK if given.quick else FULL if given.full else USUAL
    folder = Path(tempfile.mkdtemp(prefix="bench-imports-", dir="/var/tmp"))
    try:
        run(folder, scale, given)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(folder: Path, scale: Scale, given: argparse.Namespace) -> None:
    wanted = given.cases or CASES
    rows: list[Row] = []
    memory: list[float] = []
    settings: Row = {}

    def work(case: Case) -> None:
        rows.extend(measure(case, folder, scale.repeats))
        for contender in case.contenders.values():
            memory.extend(contender.memory if isinstance(contender, Import) else ())

    if "folders" in wanted:
        work(folders.case(folder, scale.tree))
        settings["small files"] = scale.tree
    if "nginx" in wanted:
        with nginx.cases(folder, scale.served) as cases:
            for case in cases:
                work(case)
        settings["files over nginx"] = scale.served
    if "archives" in wanted:
        for case in archives.cases(folder, scale.packed):
            work(case)
        settings["files in an archive"] = scale.packed
    if "http" in wanted:
        inside = folder / "http"
        inside.mkdir()
        share = scale.megabytes * MB / http.WHOLE
        mixed, more = http.measure(inside, share, scale.repeats)
        settings |= mixed
        rows.extend(more)
    if memory:
        settings["peak MB of an import"] = round(max(memory))
    report("imports", given, settings, rows)


if __name__ == "__main__":
    main()
