"""Contenders that take turns at the same work, each from the same beginning."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bench.imports.places import MB, Place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.report import Row


class Contender(Protocol):
    """Does the work in an empty folder, in one or more runs one after the other."""

    def prepare(self, folder: Path) -> None:
        """Do what is not measured."""

    def run(self, folder: Path) -> None:
        """Do what is measured."""


class Command:
    """A program of somebody else, and `sync` after it."""

    def __init__(
        self, *command: str, before: tuple[str, ...] = (), text: str = "", environ: str = ""
    ) -> None:
        """``{}`` in an argument stands for the folder; ``text`` is the standard input."""
        self._command = command
        self._before = before
        self._text = text
        self._environ = dict([environ.split("=")]) if environ else {}

    def prepare(self, folder: Path) -> None:
        folder.mkdir()
        if self._before:
            self._do(self._before, folder)

    def run(self, folder: Path) -> None:
        self._do(self._command, folder)
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


class Import:
    """The import, whose process is started for it, too."""

    def __init__(self, source: str, *orders: str) -> None:
        self._orders = (source, *orders)
        self.memory: list[float] = []
        """The peak of each run, in MB."""
        self._places: dict[Path, Place] = {}

    def prepare(self, folder: Path) -> None:
        self._places[folder] = Place(folder)

    def run(self, folder: Path) -> None:
        self.memory.append(self._places[folder].bring(*self._orders))


class Case(NamedTuple):
    """Work of a kind."""

    name: str
    files: int
    size: int
    """Bytes."""
    contenders: dict[str, Contender]
    reference: str
    """The contender that the others are compared with."""
    runs: tuple[str, ...] = ("first",)
    """The names of the runs, one after the other over the same folder."""


def measure(case: Case, folder: Path, repeats: int) -> list[Row]:
    """Return a row for each contender and run, with the shortest time of all turns."""
    best: dict[tuple[str, str], float] = {}
    for turn in range(repeats):
        for number, (name, contender) in enumerate(case.contenders.items()):
            place = folder / f"{turn}-{number}"
            contender.prepare(place)
            for run in case.runs:
                os.sync()
                seconds = timed(lambda c=contender, p=place: c.run(p))  # type: ignore[misc]
                best[name, run] = min(seconds, best.get((name, run), seconds))
            shutil.rmtree(place)
            # ext4 passes over the inodes of files that were removed in the last five seconds, one
            # by one, for each file that is made.
            time.sleep(6)
    return [
        {
            "work": f"{case.name}, {run}" if len(case.runs) > 1 else case.name,
            "contender": name,
            "seconds": round(best[name, run], 2),
            "files/s": round(case.files / best[name, run]),
            "MB/s": round(case.size / best[name, run] / MB, 1),
            "to the reference": round(best[name, run] / best[case.reference, run], 2),
        }
        for run, name in itertools.product(case.runs, case.contenders)
    ]


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
