"""The data that a page or a command shows about the regions, ready for JSON.

Times are in seconds and sizes in bytes. The expiry "never" is None, as in a configuration.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.urls import get_resolver
from django.utils.module_loading import autodiscover_modules

from beaker_regions.engine.region import Region, all_regions
from beaker_regions.entries.freshness import Policy
from beaker_regions.errors import CacheError, nearest
from beaker_regions.reports import health, metrics
from beaker_regions.reports.metrics import Activity
from beaker_regions.stores.files import maintenance
from beaker_regions.stores.files.store import FileStore
from beaker_regions.telemetry import aggregate
from beaker_regions.telemetry.expiry_advice import ExpiryAdvice
from beaker_regions.telemetry.shared_counters import Name

Report = dict[str, Any]


class Function(NamedTuple):
    """Something with its own counts: a decorated function, a page, or a fragment of a template."""

    region: Region
    name: str
    policy: Policy
    decorated: Any
    """The decorated function itself; None for pages and fragments, which only requests call."""


class UnknownFunctionError(CacheError):
    """There is no function of this name, or more than one."""


NOT_IMPORTED = (
    "This command imports beakercache, the modules of the URLs, and each application's module "
    "cached: import the function in one of them"
)


def load_functions() -> None:
    """Import the modules that `NOT_IMPORTED` names."""
    if find_spec("beakercache") is not None:
        import_module("beakercache")
    if getattr(settings, "ROOT_URLCONF", None):
        _ = get_resolver().url_patterns
    autodiscover_modules("cached")


def functions() -> list[Function]:
    """Return every function and page of this process, and the fragments that it has rendered, by
    region and name."""
    return [
        Function(region, name, policy, region.functions.get(name))
        for region in all_regions()
        for name, policy in sorted(region.policies.items(), key=lambda item: item[0])
    ]


def function_named(name: str) -> Function:
    """Return a function by its name, or by the last part of it. Raises UnknownFunctionError."""
    known = {function.name: function for function in functions()}
    if name in known:
        return known[name]
    found = [full for full in known if full.endswith(f".{name}")]
    if len(found) == 1:
        return known[found[0]]
    if found:
        raise UnknownFunctionError(f"{name!r} may be {' or '.join(found)}")
    hint = nearest(name, [full.rpartition(".")[2] for full in known]) if known else ""
    if not hint.startswith("did you mean"):
        hint = f"{hint}. {NOT_IMPORTED}".lstrip(". ")
    raise UnknownFunctionError(f"there is no cached function {name!r}; {hint}")


def regions() -> list[Report]:
    """Return every region with its options, size and counts."""
    return [of_region(region) for region in all_regions()]


def of_region(region: Region) -> Report:
    """Return a region with its options, size and counts."""
    report = described(region)
    with contextlib.suppress(OSError):  # cannot be read: health reports it
        report |= usage(region)
    return report | total(each for each in collected(region) if each.region == region.name)


def described(region: Region) -> Report:
    """Return a region with its options."""
    options = region.options
    return {
        "region": region.name,
        "type": options.type,
        "cluster": health.cluster_of(region),
        "enabled": options.enabled,
        "expire": _or_none(options.expire),
        "grace": options.grace,
        **NO_USAGE,
        "servers": health.servers_of(region),
    }


NO_USAGE = {"entries": None, "size": None, "oldest": None}


def usage(region: Region) -> Report:
    """Return the number, size and age of the entries of a region of files. Raises OSError."""
    if not isinstance(region.store, FileStore):
        return NO_USAGE
    entries, size, oldest = maintenance.usage(region.store)
    age = None if oldest is None else time.time() - oldest
    return {"entries": entries, "size": size, "oldest": age}


def collected(region: Region) -> list[Activity]:
    """Return the activities of all processes, as `counts` does."""
    return metrics.activities(counts([region]))


def counts(regions: Iterable[Region], since: float | None = None) -> Counter[Name]:
    """Return the counts of all processes, of all time or from an `aggregate.start_of` on; of this
    process alone, and of all time, if they share no folder, or if the folder cannot be read (health
    reports it)."""
    found: Counter[Name] = Counter()
    regions = list(regions)
    unread: set[Path | None] = {None}
    for folder in {region.metrics for region in regions if region.metrics is not None}:
        try:
            found.update(aggregate.read(folder, since))
        except OSError:
            unread.add(folder)
    for region in regions:
        if region.metrics in unread:
            found.update(region.stats.counted())
    return found


def activity_of(function: Function) -> Report:
    """Return one function with its counts."""
    found = metrics.activity(collected(function.region), function.region.name, function.name)
    return of_activity(found, function.policy)


def activity(counted: Counter[Name] | None = None) -> list[Report]:
    """Return every function with its counts, the most called first: with those of all time, or with
    ``counted``. Functions that this process does not know, such as those of another release, have
    no expiry."""
    known = {(each.region.name, each.name): each.policy for each in functions()}
    done = metrics.activities(counts(all_regions()) if counted is None else counted)
    found = {(each.region, each.function): each for each in done if each.function}
    for name in known:
        found.setdefault(name, Activity(*name))
    rows = [of_activity(each, known.get(name)) for name, each in found.items()]
    return sorted(rows, key=lambda row: (-row["calls"], row["function"]))


def of_activity(done: Activity, policy: Policy | None) -> Report:
    """Return a function with its counts; without a policy, its expiry is not known."""
    return {
        "function": done.function,
        "region": done.region,
        "expire": None if policy is None else _or_none(policy.expire),
        "grace": None if policy is None else policy.grace,
        **_numbers(done),
    }


def _numbers(done: Activity) -> Report:
    given = done._asdict()
    return given | {
        "calls": done.calls,
        "hit_ratio": done.hit_ratio,
        "load_average": done.load_average if done.loads else None,
        "seconds_saved": done.seconds_saved,
        "failures": dict(done.failures),
        "missed": dict(done.missed),
    }


def total(activities: Iterable[Activity]) -> Report:
    """Return the sums of some activities."""
    done = list(activities)
    calls = sum(each.calls for each in done)
    served = sum(each.hits + each.stale for each in done)
    return {
        "calls": calls,
        "hit_ratio": served / calls if calls else None,
        "loads": sum(each.loads for each in done),
        "load_seconds": sum(each.load_seconds for each in done),
        "bytes_in": sum(each.bytes_in for each in done),
        "seconds_saved": sum(each.seconds_saved for each in done),
        "invalidations": sum(each.invalidations for each in done),
        "evictions": sum(each.evictions for each in done),
        "failures": sum(number for each in done for _, number in each.failures),
    }


def advice_for(function: Function, hours: float = 24) -> ExpiryAdvice | None:
    """Return the advice for a function; None if its region has no data_dir, since then nothing is
    sampled."""
    folder = function.region.metrics
    if folder is None:
        return None
    return metrics.advise(
        folder, function.region.name, function.name, function.policy.expire, hours
    )


def bring_up_to_date() -> None:
    """Let `advice_for` use the calls up to now."""
    for folder in metrics.folders():
        metrics.bring_up_to_date(folder)


def advice_report(function: Function, advice: ExpiryAdvice) -> Report:
    """Return an advice as plain data. Unknown numbers are None."""
    return {
        "function": function.name,
        "region": function.region.name,
        **{
            field: _or_none(value) if isinstance(value, float) else value
            for field, value in advice._asdict().items()
        },
        "points": [point._asdict() for point in advice.points],
    }


def _or_none(number: float) -> float | None:
    return number if math.isfinite(number) else None
