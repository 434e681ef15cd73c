"""What was counted in each minute of the last day, on this host.

Once a minute somebody takes what was counted since the last time, and appends it to the file of
that hour. Only what changed is written, so a quiet minute costs nothing; a day is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from beaker_regions.runtime.atomic_write import unlinked
from beaker_regions.telemetry import aggregate, sampling
from beaker_regions.telemetry.shared_counters import Name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MINUTE = 60
HOUR = 60 * MINUTE
KEPT = 25
"""Hours."""


class Minute(NamedTuple):
    """What was counted in one minute."""

    at: int
    """When it began, in seconds since the epoch."""
    counts: Counter[Name]


def note(folder: Path) -> None:
    """Write down what was counted since the last time, once a minute. The caller holds the lock.
    Raises OSError."""
    now = time.time()
    since, before = _last(folder)
    if int(since) // MINUTE == int(now) // MINUTE:
        return
    totals = aggregate.added_up(folder)
    aggregate.replace_json(folder / "counted", {"at": now, "totals": _rows(totals)})
    if not since:
        # Nobody knows when it was counted.
        return
    if changes := _changes(before, totals):
        line = json.dumps([int(since) // MINUTE * MINUTE, _rows(changes)])
        place = folder / "history"
        place.mkdir(exist_ok=True)
        with open(place / str(int(since) // HOUR), "a", opener=unlinked) as file:
            file.write(line + "\n")
        for old in place.iterdir():
            if not old.name.isdecimal() or int(old.name) <= int(now) // HOUR - KEPT:
                old.unlink()


def read(folder: Path, minutes: int) -> list[Minute]:
    """Return the last minutes, the present one included, the oldest first. Raises OSError."""
    now = int(time.time()) // MINUTE * MINUTE
    first = now - (minutes - 1) * MINUTE
    found = {at: Minute(at, Counter()) for at in range(first, now + 1, MINUTE)}
    if folder.is_dir():
        with aggregate.locked(folder, fcntl.LOCK_SH):
            for at, changes in _all(folder, first):
                if at in found:
                    found[at].counts.update(changes)
    return list(found.values())


def _all(folder: Path, since: int) -> Iterator[tuple[int, Counter[Name]]]:
    for hour in range(since // HOUR, int(time.time()) // HOUR + 1):
        for at, rows in of_hour(folder, hour):
            with contextlib.suppress(ValueError, TypeError):
                yield at, _counts(rows)
    yield from since_noted(folder)


def path_of_hour(folder: Path, hour: int) -> Path:
    """Return the file of an hour, counted since the epoch; it is only ever appended to."""
    return folder / "history" / str(hour)


def of_hour(folder: Path, hour: int) -> Iterator[tuple[int, list[Any]]]:
    """Yield the minutes of an hour, and what was counted in each: region, function, event and
    number. Of many functions that is megabytes."""
    path = path_of_hour(folder, hour)
    with contextlib.suppress(FileNotFoundError), open(path, "rb", opener=unlinked) as file:
        for line in file:
            with contextlib.suppress(ValueError, TypeError):
                at, rows = json.loads(line)
                yield at, rows


def since_noted(folder: Path) -> Iterator[tuple[int, Counter[Name]]]:
    """Yield what was counted since the last minute that was noted, and that minute. The caller
    holds the lock."""
    at, before = _last(folder)
    if at:
        yield int(at) // MINUTE * MINUTE, _changes(before, aggregate.added_up(folder))


def _last(folder: Path) -> tuple[float, Counter[Name]]:
    """Return when was noted last, and what had been counted by then; 0 if never."""
    found = aggregate.read_json(folder / "counted")
    try:
        at, totals = float(found["at"]), _counts(found["totals"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0, Counter()
    return (at, totals) if 0 <= at < sampling.LATEST else (0, Counter())


def _changes(before: Counter[Name], totals: Counter[Name]) -> Counter[Name]:
    # What counts less than before was lost with its file, and begins anew.
    changes = {
        name: number - before[name] if number >= before[name] else number
        for name, number in totals.items()
    }
    return Counter({name: change for name, change in changes.items() if change})


def _rows(counts: Counter[Name]) -> list[list[str | int]]:
    return [[*name, number] for name, number in counts.items()]


def _counts(rows: list[list[str | int]]) -> Counter[Name]:
    return Counter({Name(*map(str, name)): int(number) for *name, number in rows})
