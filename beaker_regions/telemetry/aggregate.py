"""The sums of the counts of all processes of a host, ended ones included: of all time, and of the
last hour and day.

In the folder ``metrics`` of a data_dir::

    PID-….counts    the counts of one process (`beaker_regions.telemetry.shared_counters`)
    totals          the added counts of ended processes and periods
    lock            shared by readers and appenders; exclusive while files are folded into totals

The counts of an ended process, or of a period that a process has ended, are added to the totals.
The new totals replace the old ones at once and name the files that they contain, so a file that
could not be removed is not counted twice. No write waits for the disk: a power cut may lose the
counts, and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beaker_regions.runtime import forking
from beaker_regions.runtime.atomic_write import open_plain, read_file, write_file
from beaker_regions.runtime.flock import take
from beaker_regions.telemetry import shared_counters
from beaker_regions.telemetry.shared_counters import Name

Counts = Counter[Name]
LONGEST = 10.0
"""Seconds to wait for the lock. Its holder may be simulating an hour of samples."""
ABANDONED = 60 * 60
"""Seconds after which an unfinished file is taken to be a killed process's."""
HOUR = 60 * 60
KEPT = 26 * HOUR
"""Seconds for which periods are kept."""


@contextlib.contextmanager
def locked(folder: Path, how: int) -> Iterator[None]:
    """Hold the folder's lock; ``how`` is as for `fcntl.flock`. Raises OSError: BlockingIOError if
    another process has the lock and ``how`` says not to wait, TimeoutError after `LONGEST`
    seconds, since the holder may have been stopped."""
    # A process that starts at the same time may not have made the folder yet. If its parent is
    # gone, the folder is not made again.
    folder.mkdir(exist_ok=True)
    descriptor = open_plain(folder / "lock", os.O_RDWR | os.O_CREAT)
    with forking.unshared(descriptor):
        if how & fcntl.LOCK_NB:
            fcntl.flock(descriptor, how)
        else:
            take(descriptor, how, time.monotonic() + LONGEST)
        yield


class Totals:
    """The counts of all time, and of some periods."""

    def __init__(self) -> None:
        self.all: Counts = Counts()
        self.periods: dict[int, Counts] = {}
        """By the start of the period, in seconds since the epoch."""
        self.contained: set[str] = set()
        """The names of the files that were added."""

    def add(self, name: str, content: bytes) -> None:
        """Add the counts of a file, by its name."""
        period = shared_counters.period_of(name)
        added = [self.all]
        if period is not None:
            added.append(self.periods.setdefault(period, Counts()))
        for counted, number in shared_counters.read(content):
            for counts in added:
                counts[counted] += number

    def since(self, start: float) -> Counts:
        """Return the counts of the periods that began at ``start`` or later."""
        found = Counts()
        for period, counts in self.periods.items():
            if period >= start:
                found.update(counts)
        return found

    def thin_out(self, now: float) -> None:
        """Make hours of the older periods, and drop the oldest."""
        kept: dict[int, Counts] = {}
        for period, counts in self.periods.items():
            if period >= now - KEPT:
                start = period if period >= now - 2 * HOUR else period // HOUR * HOUR
                kept.setdefault(start, Counts()).update(counts)
        self.periods = kept


def read(folder: Path, since: float | None = None) -> Counts:
    """Add up what all processes have counted: in all time, or from a `start_of` on. Raises
    OSError."""
    if not folder.is_dir():
        return Counts()
    with locked(folder, fcntl.LOCK_SH):
        totals = _stored(folder)
        for path in _files(folder):
            if path.name not in totals.contained:
                with contextlib.suppress(FileNotFoundError):
                    totals.add(path.name, read_file(path))
    return totals.all if since is None else totals.since(since)


def start_of(seconds: float, now: float) -> float:
    """Return the start of the counted periods that cover the last ``seconds``, at most a day."""
    size = shared_counters.PERIOD if seconds <= HOUR else HOUR
    return (now - seconds) // size * size


def fold(folder: Path) -> None:
    """Add the counts of ended processes and periods to the totals, and remove their files. The
    caller holds the lock. Raises OSError."""
    totals = _stored(folder)
    dead = []
    for path in _files(folder):
        with (
            contextlib.suppress(BlockingIOError, FileNotFoundError),
            open(path, "rb", opener=open_plain) as file,
        ):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            dead.append(path)
            if path.name not in totals.contained:
                totals.add(path.name, file.read())
    if dead:
        totals.thin_out(time.time())
        replace_json(
            folder / "totals",
            {
                "contained": [path.name for path in dead],
                "totals": [[*name, number] for name, number in totals.all.items()],
                "periods": _packed(totals),
            },
        )
        for path in dead:
            path.unlink(missing_ok=True)
    for path in folder.glob(".*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def _files(folder: Path) -> list[Path]:
    found = folder.glob(f"*{shared_counters.SUFFIX}")
    return [path for path in found if not path.is_symlink()]


def _stored(folder: Path) -> Totals:
    """Return the totals that were stored last; none if they are damaged."""
    totals = Totals()
    found = read_json(folder / "totals")
    try:
        for *name, number in found["totals"]:
            totals.all[Name(*map(str, name))] += int(number)
        totals.contained = set(found["contained"])
        names = list(totals.all)
        # An earlier release stored no periods.
        for period, numbers in found.get("periods", ()):
            totals.periods[int(period)] = Counts({names[at]: int(n) for at, n in numbers})
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError):
        return Totals()
    return totals


def _packed(totals: Totals) -> list[tuple[int, list[tuple[int, int]]]]:
    """Return the periods. A name, which is long, is replaced by its place among all names."""
    places = {name: place for place, name in enumerate(totals.all)}
    return [
        (period, [(places[name], number) for name, number in counts.items() if number])
        for period, counts in totals.periods.items()
    ]


def replace_json(path: Path, value: Any) -> None:
    """Write a file. Readers see the old content or the new one, never a part."""
    content = json.dumps(value, separators=(",", ":")).encode()
    write_file(str(path.parent), str(path), content, durable=False)


def read_json(path: Path) -> Any:
    """Return a file's value; an empty dictionary if the file is missing or damaged."""
    try:
        return json.loads(read_file(path))
    except (OSError, ValueError):
        return {}
