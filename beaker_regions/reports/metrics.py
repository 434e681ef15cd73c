"""What the regions of an application did, in all processes of this host, and what they would do.

Every function takes the folder where a region's processes count (`Region.metrics`); regions of
one data_dir share it. None talks to a store. A folder is for the processes of one host.
"""

from __future__ import annotations

import fcntl
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from beaker_regions.engine.region import all_regions
from beaker_regions.telemetry import (
    aggregate,
    event_log,
    expiry_advice,
    maintenance,
    recorder,
    sampling,
)
from beaker_regions.telemetry.event_log import Note
from beaker_regions.telemetry.expiry_advice import Point, Prediction, duration
from beaker_regions.telemetry.shared_counters import Name

if TYPE_CHECKING:
    from pathlib import Path


__all__ = [
    "Activity",
    "Name",
    "Note",
    "Point",
    "Prediction",
    "activities",
    "activity",
    "all_counts",
    "bring_up_to_date",
    "collect",
    "counts",
    "duration",
    "invalidations",
    "largest_values",
    "predict",
    "slowest_loads",
]


class Activity(NamedTuple):
    """What one function did, or a region as a whole (with an empty function), since counting
    began."""

    region: str
    function: str
    hits: int = 0
    stale: int = 0
    """Calls that were served the old value."""
    misses: int = 0
    """Calls that loaded."""
    loads: int = 0
    load_errors: int = 0
    """Loads that raised."""
    load_seconds: float = 0.0
    """Of all loads that did not raise, together."""
    waits: int = 0
    """How often somebody who waited for another's load looked again."""
    invalidations: int = 0
    """Of the function or one call of it; those of tags and regions are the region's."""
    refused: int = 0
    """Records that were no records of ours, or altered."""
    bypassed: int = 0
    """Calls that did not look, because their own transaction had invalidated something."""
    evictions: int = 0
    bytes_in: int = 0
    """Of stored contents, bytes and texts; of other values it is not known."""
    bytes_out: int = 0
    """Of the records that were hits, as they are stored."""
    failures: tuple[tuple[str, int], ...] = ()
    """By kind, refused records included."""

    @property
    def calls(self) -> int:
        return self.hits + self.stale + self.misses

    @property
    def hit_ratio(self) -> float | None:
        """Share of the calls that were served without waiting for a load; None without calls."""
        return (self.hits + self.stale) / self.calls if self.calls else None

    @property
    def load_average(self) -> float:
        """Seconds of one load."""
        return self.load_seconds / self.loads if self.loads else 0.0

    @property
    def seconds_saved(self) -> float:
        """What the calls that did not load would have taken to load."""
        return (self.hits + self.stale) * self.load_average


def collect(folder: Path) -> list[Activity]:
    """Return what all processes of this host did, those that are gone included, by region and
    function. Raises OSError."""
    return activities(counts(folder))


def counts(folder: Path) -> Counter[Name]:
    """Return what `collect` does, number by number. Raises OSError."""
    return aggregate.read(folder)


def all_counts() -> Counter[Name]:
    """Return what was counted in all regions of this process's managers: by all processes, or by
    this one alone where a region has no data_dir. Raises OSError."""
    total: Counter[Name] = Counter()
    for folder in {region.metrics for region in all_regions()}:
        if folder is not None:
            total += counts(folder)
    for region in all_regions():
        if region.metrics is None:
            total += region.stats.counted()
    return total


def activities(counts: Counter[Name]) -> list[Activity]:
    """Return counts by region and function."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for (region, function, event), number in counts.items():
        found.setdefault((region, function), {})[event] = number
    return [_activity(*which, events) for which, events in sorted(found.items())]


def activity(found: list[Activity], region: str, function: str) -> Activity:
    """Return one of the activities; all 0 where there is none."""
    for each in found:
        if (each.region, each.function) == (region, function):
            return each
    return Activity(region, function)


def _activity(region: str, function: str, events: dict[str, int]) -> Activity:
    failures = {
        event.removeprefix("failed."): number
        for event, number in sorted(events.items())
        if event.startswith("failed.")
    }
    plain = {event: number for event, number in events.items() if event in Activity._fields}
    return Activity(
        region,
        function,
        **plain,
        load_seconds=events.get("load_nanoseconds", 0) / 1e9,
        refused=failures.get("refused", 0),
        failures=tuple(failures.items()),
    )


def slowest_loads(folder: Path, most: int = 10) -> list[Note]:
    """Return the slowest load of each function, the slowest first."""
    return event_log.highest(folder, "load", most)


def largest_values(folder: Path, most: int = 10) -> list[Note]:
    """Return the largest value of each function, the largest first."""
    return event_log.highest(folder, "value", most)


def invalidations(folder: Path, most: int = 50) -> list[Note]:
    """Return the last invalidations, the latest first; those of keys of Beaker's own front, such
    as sessions, are left out."""
    return event_log.read(folder, "invalidation")[:most]


def predict(
    folder: Path, region: str, function: str, today: float, hours: float = 24
) -> Prediction:
    """Return what each expiry would have done with the calls of the last ``hours`` (at most a
    week); ``today`` is the expiry that the function has, in seconds. Raises OSError."""
    done = activity(collect(folder), region, function)
    replay = maintenance.replayed(folder, sampling.function_id(region, function))
    return expiry_advice.predict(replay, today, done.load_average, hours)


def bring_up_to_date(folder: Path) -> None:
    """Replay what was sampled until now, so that `predict` knows of it. Raises OSError."""
    recorder.flush(folder)
    if folder.is_dir():
        with aggregate.locked(folder, fcntl.LOCK_EX):
            aggregate.fold(folder)
            maintenance.replay(folder)
