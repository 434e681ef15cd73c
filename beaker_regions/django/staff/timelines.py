"""What was called and loaded over the last hour and the last day."""

from __future__ import annotations

import fcntl
import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from beaker_regions.engine.region import all_regions
from beaker_regions.telemetry import aggregate, history

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MINUTE, QUARTER, HOUR = 60, 15 * 60, 60 * 60
"""Seconds."""
DAY = 24 * HOUR
KEPT = 64
"""Hours whose sums a process keeps."""


class Sum(NamedTuple):
    """What was counted in some time."""

    served: int = 0
    """Calls that did not load."""
    missed: int = 0
    loads: int = 0


Which = tuple[str, str]
"""A region and a function."""
Sums = dict[tuple[int, Which], Sum]
"""By the beginning of a step of time."""

_COUNTED = {"hits": 0, "stale": 0, "misses": 1, "loads": 2}


@dataclass(frozen=True)
class Span:
    """A time in equal steps of ``seconds``."""

    seconds: int
    times: tuple[int, ...]
    """When each began, in seconds since the epoch."""
    sums: tuple[Sum, ...]

    @property
    def served(self) -> tuple[int, ...]:
        return tuple(each.served for each in self.sums)

    @property
    def loads(self) -> tuple[int, ...]:
        return tuple(each.loads for each in self.sums)

    @property
    def calls(self) -> tuple[int, ...]:
        return tuple(each.served + each.missed for each in self.sums)

    @property
    def ratios(self) -> tuple[float | None, ...]:
        """Hit ratios; None where there were no calls."""
        pairs = zip(self.served, self.calls, strict=True)
        return tuple(served / calls if calls else None for served, calls in pairs)


def spans(which: Which | None = None) -> tuple[Span, Span]:
    """Return the last hour, by minutes, and the last day, by quarters of an hour: of all
    functions, or of one."""
    now = int(time.time())
    minutes: dict[int, Sum] = {}
    quarters: dict[int, Sum] = {}
    for folder in {region.metrics for region in all_regions() if region.metrics is not None}:
        recent = _recent(folder, now)
        _add(minutes, _sums(recent, MINUTE), which)
        _add(quarters, _sums(recent, QUARTER), which)
        for hour in range((now - DAY) // HOUR, now // HOUR - 1):
            _add(quarters, _quarters(folder, hour), which)
    return _span(minutes, now, HOUR, MINUTE), _span(quarters, now, DAY, QUARTER)


def _span(sums: dict[int, Sum], now: int, length: int, step: int) -> Span:
    last = now // step * step
    times = tuple(range(last - length + step, last + 1, step))
    return Span(step, times, tuple(sums.get(at, Sum()) for at in times))


def _add(into: dict[int, Sum], sums: Sums, which: Which | None) -> None:
    for (at, whose), each in sums.items():
        if which is None or whose == which:
            before = into.get(at, Sum())
            into[at] = Sum(*map(sum, zip(before, each, strict=True)))


def _recent(folder: Path, now: int) -> list[tuple[int, list[Any]]]:
    """Return what was counted in each minute of this hour and the one before."""
    this = now // HOUR
    found = [*history.of_hour(folder, this - 1), *history.of_hour(folder, this)]
    try:
        with aggregate.locked(folder, fcntl.LOCK_SH):
            found += [
                (at, [[*name, number] for name, number in counts.items()])
                for at, counts in history.since_noted(folder)
            ]
    except OSError:
        pass  # there is none yet, or it cannot be read: that stands beside the region
    return found


def _quarters(folder: Path, hour: int) -> Sums:
    path = history.path_of_hour(folder, hour)
    try:
        size = path.stat().st_size
    except OSError:
        return {}
    return _kept_quarters(folder, hour, size)


@functools.lru_cache(KEPT)
def _kept_quarters(folder: Path, hour: int, size: int) -> Sums:  # noqa: ARG001, it grows
    # An hour of hundreds of functions is megabytes to read, and stays as it is.
    return _sums(history.of_hour(folder, hour), QUARTER)


def _sums(minutes: Iterable[tuple[int, list[Any]]], step: int) -> Sums:
    found: dict[tuple[int, Which], list[int]] = {}
    for at, rows in minutes:
        begin = at // step * step
        for region, function, event, number in rows:
            # What is counted for no function are values that the application sets itself.
            if event in _COUNTED and function:
                numbers = found.setdefault((begin, (region, function)), [0, 0, 0])
                numbers[_COUNTED[event]] += number
    return {key: Sum(*numbers) for key, numbers in found.items()}
