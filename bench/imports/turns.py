"""Contenders that take turns at the same work, each from the same beginning."""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from bench.imports.places import MB, Place

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report import Row

_NUMBERS = itertools.count()


class Contender:
    """Does the work in a folder, in one or more runs one after the other."""

    memory = 0
    """The peak of its runs, in MB, if it is measured."""

    def prepare(self, folder: Path) -> None:
        """Make the folder, and do what is not measured."""

    def run(self, folder: Path) -> None:
        """Do what is measured."""


class Command(Contender):
    """A program of somebody else, and ``sync`` after it."""

    def __init__(
        self,
        *command: str,
        before: tuple[str, ...] = (),
        text: str = "",
        environ: str = "",
        sync: bool = True,
    ) -> None:
        """``{}`` in an argument stands for the folder; ``text`` is the standard input."""
        self._command = command
        self._before = before
        self._text = text
        self._environ = dict([environ.split("=")]) if environ else {}
        self._sync = sync

    def prepare(self, folder: Path) -> None:
        folder.mkdir()
        if self._before:
            self._do(self._before, folder)

    def run(self, folder: Path) -> None:
        self._do(self._command, folder)
        if self._sync:
            subprocess.run(["sync", "-f", "."], cwd=folder, check=True)

    def _do(self, command: tuple[str, ...], folder: Path) -> None:
        subprocess.run(
            [part.replace("{}", str(folder)) for part in command],
            cwd=folder,
            input=self._text.encode(),
            env={**os.environ, **self._environ},
            check=True,
            stdout=subprocess.DEVNULL,
        )


def by_curl(url: str, paths: list[str], jobs: int, *, sync: bool = True) -> Command:
    """Return the command that fetches files and their manifest, and checks them against it."""
    at_once = f"--parallel --parallel-max {jobs} " if jobs > 1 else ""
    return Command(
        "sh",
        "-c",
        f"curl --no-progress-meter --fail --create-dirs {at_once}-K - "
        "&& sha256sum --quiet -c SHA256SUMS",
        text="".join(
            f'url = "{url}/{path}"\noutput = "{path}"\n' for path in ["SHA256SUMS", *paths]
        ),
        sync=sync,
    )


class Import(Contender):
    """The import, whose process is started for it, too."""

    def __init__(self, source: str, *orders: str) -> None:
        self._orders = (source, *orders)
        self._places: dict[Path, Place] = {}

    def prepare(self, folder: Path) -> None:
        self._places[folder] = Place(folder)

    def run(self, folder: Path) -> None:
        self.memory = max(self.memory, round(self._places[folder].bring(*self._orders)))


class Case(NamedTuple):
    """Work of a kind."""

    name: str
    files: int
    size: int
    """Bytes."""
    contenders: dict[str, Contender]
    references: tuple[str, ...]
    """The contenders that the others are compared with; they take part in every turn."""
    runs: tuple[str, ...] = ("",)
    """The names of the runs, one after the other over the same folder."""
    once: tuple[str, ...] = ()
    """The contenders that take part in the first turn alone."""


def measure(case: Case, folder: Path, turns: int, seconds: float) -> list[Row]:
    """Return a row for each contender and run. Prints each time as it is taken.

    A row has the shortest time of all turns, and the median of its ratios to each reference in the
    same turn. After the first turn, another begins only if it should end within ``seconds``.
    """
    times: dict[tuple[str, str], list[float]] = {}
    started = time.perf_counter()
    for turn in range(1, turns + 1):
        for name, contender in case.contenders.items():
            if turn > 1 and name in case.once:
                continue
            # Nothing is removed before the end: for minutes ext4 passes over the inodes of removed
            # files, one by one, for each file that is made (``recently_deleted`` in its ialloc.c).
            place = folder / f"{next(_NUMBERS)}"
            contender.prepare(place)
            for run in case.runs:
                os.sync()
                times.setdefault((run, name), []).append(timed(contender, place))
                print(_told(case, times, run, name), flush=True)
        if (time.perf_counter() - started) * (turn + 1) / turn > seconds:
            break
    return [
        {
            "work": _work(case, run),
            "contender": name,
            "seconds": round(min(times[run, name]), 2),
            "files/s": round(case.files / min(times[run, name])),
            "MB/s": round(case.size / min(times[run, name]) / MB, 1),
            **{
                f"to {reference}": round(statistics.median(_ratios(times, run, name, reference)), 2)
                for reference in case.references
            },
            "turns": len(times[run, name]),
            "peak MB": case.contenders[name].memory or "",
        }
        for run, name in itertools.product(case.runs, case.contenders)
    ]


def timed(contender: Contender, folder: Path) -> float:
    """Return the seconds that a run takes."""
    started = time.perf_counter()
    contender.run(folder)
    return time.perf_counter() - started


def _ratios(
    times: dict[tuple[str, str], list[float]], run: str, name: str, reference: str
) -> list[float]:
    # A contender that runs once took part in the first turn.
    beside = zip(times[run, name], times.get((run, reference), ()), strict=False)
    return [mine / other for mine, other in beside]


def _told(case: Case, times: dict[tuple[str, str], list[float]], run: str, name: str) -> str:
    # The references of a turn come first.
    beside = [
        f"{_ratios(times, run, name, reference)[-1]:.2f} of {reference}"
        for reference in case.references
        if name not in case.references
    ]
    return ", ".join([f"  {_work(case, run)}: {name} {times[run, name][-1]:.2f} s", *beside])


def _work(case: Case, run: str) -> str:
    return f"{case.name}, {run}" if run else case.name
