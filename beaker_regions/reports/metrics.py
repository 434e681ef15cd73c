"""The counts of an application's regions, of all processes of this host, and expiry advice.

Every function takes the folder in which a region's processes count (`Region.metrics`). Regions
with the same data_dir share it. No function sends a request to a store. One folder is for the
processes of one host.
"""

from __future__ import annotations

import fcntl
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from beaker_regions.engine.invalidation import TAGS, WHOLE_REGION
from beaker_regions.engine.region import all_regions
from beaker_regions.telemetry import (
    aggregate,
    event_log,
    expiry_advice,
    maintenance,
    miss_reasons,
    recorder,
    sampling,
)
from beaker_regions.telemetry.event_log import LoggedEvent
from beaker_regions.telemetry.expiry_advice import ExpiryAdvice
from beaker_regions.telemetry.shared_counters import Name


class Activity(NamedTuple):
    """The counts of one function, or of a whole region (with an empty function), since counting
    began."""

    region: str
    function: str
    hits: int = 0
    stale: int = 0
    """Calls that were served the stale value."""
    misses: int = 0
    """Calls that loaded."""
    loads: int = 0
    load_errors: int = 0
    """Loads that raised."""
    load_seconds: float = 0.0
    """The total time of all loads that did not raise."""
    waits: int = 0
    """Lookups by callers that waited for another caller's load."""
    invalidations: int = 0
    """Invalidations of the function or of one of its calls. Those of tags and regions are counted
    for the region."""
    tag_invalidations: int = 0
    """Invalidations of tags that calls of the function have. They are also counted for the
    region."""
    refused: int = 0
    """Records that another application wrote, or that were altered."""
    bypassed: int = 0
    """Calls that looked nothing up: in a bypassed block, after an invalidation of the entry in the
    same transaction, or while other hosts' invalidations may be unknown."""
    evictions: int = 0
    bytes_in: int = 0
    """Size of stored contents, bytes and texts. The size of other values is not known."""
    bytes_out: int = 0
    """Size of the records that were hits, in their stored form."""
    failures: tuple[tuple[str, int], ...] = ()
    """Numbers by kind, including refused records."""
    missed: tuple[tuple[str, int], ...] = ()
    """Numbers of misses by their reason (`beaker_regions.telemetry.miss_reasons`)."""

    @property
    def calls(self) -> int:
        return self.hits + self.stale + self.misses

    @property
    def hit_ratio(self) -> float | None:
        """Share of the calls that were served without a load. None: there were no calls."""
        return (self.hits + self.stale) / self.calls if self.calls else None

    @property
    def load_average(self) -> float:
        """Average seconds of a load."""
        return self.load_seconds / self.loads if self.loads else 0.0

    @property
    def seconds_saved(self) -> float:
        """Seconds that the calls without a load would have taken to load."""
        return (self.hits + self.stale) * self.load_average


def collect(folder: Path, since: float | None = None) -> list[Activity]:
    """Return the activities of all processes of this host, including ended ones, by region and
    function: of all time, or from an `aggregate.start_of` on. Raises OSError."""
    return activities(aggregate.read(folder, since))


def folders() -> set[Path]:
    """Return the folders in which the regions of this process's managers count."""
    return {region.metrics for region in all_regions() if region.metrics is not None}


def all_counts() -> Counter[Name]:
    """Return the counts of all regions of this process's managers: of all processes, or of this
    process alone if a region has no data_dir. Raises OSError."""
    total: Counter[Name] = Counter()
    for folder in folders():
        total += aggregate.read(folder)
    for region in all_regions():
        if region.metrics is None:
            total += region.stats.counted()
    return total


def activities(counts: Counter[Name]) -> list[Activity]:
    """Return counts by region and function, those of imports included."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for (region, function, event), number in counts.items():
        of_function = found.setdefault((region, function), Counter())
        of_function[event.removeprefix(recorder.IMPORTS)] += number
    return [_activity(*name, events) for name, events in sorted(found.items())]


def apart(counts: Counter[Name]) -> tuple[Counter[Name], Counter[Name]]:
    """Return what visitors did, and what imports did (`recorder.counting_imports`)."""
    visitors: Counter[Name] = Counter()
    imports: Counter[Name] = Counter()
    for name, number in counts.items():
        is_import = name.event.startswith(recorder.IMPORTS)
        (imports if is_import else visitors)[name] = number
    return visitors, imports


def activity(found: list[Activity], region: str, function: str) -> Activity:
    """Return one of the activities. If there is none, all its counts are 0."""
    for each in found:
        if (each.region, each.function) == (region, function):
            return each
    return Activity(region, function)


def _activity(region: str, function: str, events: Counter[str]) -> Activity:
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
        missed=tuple(
            (reason, number)
            for reason in miss_reasons.REASONS
            if (number := events.get(f"{miss_reasons.EVENT}{reason}", 0))
        ),
    )


def slowest_loads(folder: Path, most: int = 10) -> list[LoggedEvent]:
    """Return the slowest load of each function, the slowest first."""
    return event_log.highest(folder, "load", most)


def largest_values(folder: Path, most: int = 10) -> list[LoggedEvent]:
    """Return the largest value of each function, the largest first."""
    return event_log.highest(folder, "value", most)


def invalidations(folder: Path, most: int = 50) -> list[LoggedEvent]:
    """Return the last invalidations, the latest first. Those of keys of Beaker's own API, such as
    sessions, are left out."""
    return event_log.read(folder, "invalidation")[:most]


def last_invalidation(folder: Path, tag: str) -> LoggedEvent | None:
    """Return the last invalidation of a tag, or of a whole region, with its cause in place of its
    description."""
    for event in event_log.read(folder, "invalidation"):
        cause, found, tags = event.what.partition(TAGS)
        if found and tag in tags.split(", "):
            return event._replace(what=cause.removesuffix("; ") or "the application")
        if event.what == WHOLE_REGION:
            return event._replace(what="an invalidation of the whole region")
    return None


def advise(
    folder: Path, region: str, function: str, today: float, hours: float = 24
) -> ExpiryAdvice:
    """Return the results that other expiries would have had for the calls of the last ``hours`` (at
    most a week). ``today`` is the function's present expiry, in seconds. Raises OSError."""
    done = activity(collect(folder), region, function)
    simulation = maintenance.simulation_of(
        folder, sampling.function_id(region, function), with_keys=False
    )
    return expiry_advice.advise(simulation, today, done.load_average, hours)


def bring_up_to_date(folder: Path) -> None:
    """Run the simulations with the samples up to now, so that `advise` uses them. Raises
    OSError."""
    recorder.flush(folder)
    if folder.is_dir():
        with aggregate.locked(folder, fcntl.LOCK_EX):
            aggregate.fold(folder)
            maintenance.simulate(folder)
