"""A log of single events: the slowest loads, the largest values, the last invalidations.

Each host has one log for each kind, with one line for each event. A log takes at most two files of
`LIMIT` bytes. A process logs a load only if it is among its slowest of the hour, and a value only
if it is larger than all before.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from beaker_regions.runtime.atomic_write import open_plain, read_file
from beaker_regions.telemetry import aggregate

LIMIT = 1 << 18
"""Bytes."""
SLOWEST = 10
"""Loads of an hour."""
SLOW = 0.001
"""Seconds. A faster load is not logged."""
HOUR = 60 * 60
LONGEST = 200
"""Characters of a description."""


class LoggedEvent(NamedTuple):
    """One event."""

    kind: str
    """load, value or invalidation."""
    at: float
    """Seconds since the epoch."""
    region: str
    what: str
    """The function; for an invalidation, a description of it."""
    number: float
    """Seconds of a load, bytes of a value."""


class EventLog:
    """Logs the events of one region in this process."""

    def __init__(self, region: str, folder: Path | None) -> None:
        self._region = region
        self._folder = folder
        self._slowest: list[float] = []
        self._hour = 0

    def load(self, function: str, seconds: float) -> None:
        if seconds >= SLOW and self._is_slow(seconds):
            self._write("load", function, seconds)

    def value(self, function: str, size: int) -> None:
        """Log a value's size, in bytes."""
        self._write("value", function, size)

    def invalidation(self, what: str) -> None:
        self._write("invalidation", what, 0)

    def _is_slow(self, seconds: float) -> bool:
        hour = int(time.time()) // HOUR
        if hour != self._hour:
            self._slowest, self._hour = [], hour
        if len(self._slowest) < SLOWEST:
            heapq.heappush(self._slowest, seconds)
            return True
        return heapq.heappushpop(self._slowest, seconds) < seconds

    def _write(self, kind: str, what: str, number: float) -> None:
        if self._folder is None:
            return
        note = LoggedEvent(kind, round(time.time(), 3), self._region, what[:LONGEST], number)
        line = json.dumps(note)
        # If the folder cannot be used, only the event is lost.
        with contextlib.suppress(OSError):
            append(self._folder, f"notes.{kind}", line.encode() + b"\n")


def append(folder: Path, name: str, line: bytes) -> None:
    path = folder / name
    with open(path, "ab", buffering=0, opener=open_plain) as log:
        log.write(line)
        if os.fstat(log.fileno()).st_size > LIMIT:
            with aggregate.locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
                # Another process may have done it already.
                if os.path.samestat(os.fstat(log.fileno()), os.stat(path)):
                    os.replace(path, folder / f"{name}.old")


def read(folder: Path, kind: str) -> list[LoggedEvent]:
    """Return the logged events, the latest first."""
    written = enumerate(_read(folder, kind))
    # If the times are equal, the one that was written later comes first.
    return [event for _, event in sorted(written, key=lambda each: (-each[1].at, -each[0]))]


def highest(folder: Path, kind: str, most: int) -> list[LoggedEvent]:
    """Return the events with the highest numbers, one for each function and region."""
    found: dict[tuple[str, str], LoggedEvent] = {}
    for event in _read(folder, kind):
        at = event.region, event.what
        if at not in found or found[at].number < event.number:
            found[at] = event
    return heapq.nlargest(most, found.values(), key=lambda event: event.number)


def _read(folder: Path, kind: str) -> Iterator[LoggedEvent]:
    for name in (f"notes.{kind}.old", f"notes.{kind}"):
        try:
            lines = read_file(folder / name).splitlines()
        except OSError:
            continue
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):
                fields: Any = json.loads(line)
                # An earlier release also logged the user.
                yield LoggedEvent(*fields[: len(LoggedEvent._fields)])
