"""The effect of other expiries on a function: the simulated results, and a suggestion in words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from beaker_regions.telemetry.simulation import CANDIDATES, HOUR, Simulation
from beaker_regions.telemetry.units import duration

ENOUGH = 100
"""Calls. With fewer there is no advice."""
WORTH_IT = 0.1
"""Share of today's loads that a longer expiry must save, or it is not suggested."""


class Point(NamedTuple):
    """One expiry, and its simulated results."""

    expire: float
    """Seconds."""
    hit_ratio: float
    loads_per_hour: float
    load_seconds_per_hour: float
    seen: bool
    """Whether calls were sampled for at least this long. If not, the results are a guess."""


class ExpiryAdvice(NamedTuple):
    """The calls of a function, the simulated results of each expiry, and a suggestion."""

    today: float
    """The function's present expiry, in seconds; infinity: never."""
    calls: float
    hours: float
    """How long calls were sampled."""
    hit_ratio: float
    """The simulated ratio for today's expiry."""
    load_seconds: float
    """The average of one load."""
    invalidated: float
    """Share of the misses under the longest expiry that invalidations cause."""
    points: tuple[Point, ...]
    """By expiry; empty if there were too few calls."""
    suggested: float | None
    """A better expiry, in seconds; None: keep today's."""
    reason: str


def advise(simulation: Simulation, today: float, load_seconds: float, hours: float) -> ExpiryAdvice:
    """Return the advice from the calls of the last ``hours``, for a function with the expiry
    ``today`` (seconds) and an average load of ``load_seconds``."""
    last = int(simulation.last) // HOUR
    taken = [hour for at, hour in simulation.hours.items() if at > last - hours]
    calls = sum(hour.calls for hour in taken)
    begun = max(simulation.first, (last - hours + 1) * HOUR)
    watched = max(simulation.last - begun, 1.0) if taken else 0.0
    if calls < ENOUGH:
        reason = f"only {calls:.0f} calls were seen: too few to say anything"
        return ExpiryAdvice(
            today, calls, watched / HOUR, math.nan, load_seconds, math.nan, (), None, reason
        )
    misses = [
        min(calls, sum(hour.misses[index] for hour in taken)) for index in range(len(CANDIDATES))
    ]
    points = tuple(
        Point(
            expire,
            1 - missed / calls,
            missed / watched * HOUR,
            missed / watched * HOUR * load_seconds,
            expire <= watched,
        )
        for expire, missed in zip(CANDIDATES, misses, strict=True)
    )
    invalidated = sum(hour.invalidated for hour in taken)
    share = min(1.0, invalidated / misses[-1]) if misses[-1] else 0.0
    ratio = at_expiry(points, today)
    suggested, reason = _suggestion(points, today, share)
    return ExpiryAdvice(
        today, calls, watched / HOUR, ratio, load_seconds, share, points, suggested, reason
    )


def at_expiry(points: Sequence[Point], expire: float) -> float:
    """Return the hit ratio at any expiry."""
    return _between(points, expire, [point.hit_ratio for point in points])


def load_seconds_at(points: Sequence[Point], expire: float) -> float:
    """Return the seconds of loads an hour at any expiry."""
    return _between(points, expire, [point.load_seconds_per_hour for point in points])


def _between(points: Sequence[Point], expire: float, numbers: Sequence[float]) -> float:
    """Return the number at any expiry, of ``numbers`` at those of the points. Between two points it
    is interpolated on a logarithmic scale of time."""
    if expire <= points[0].expire:
        return numbers[0]
    for (before, low), (after, high) in itertools.pairwise(zip(points, numbers, strict=True)):
        if expire <= after.expire:
            part = math.log(expire / before.expire) / math.log(after.expire / before.expire)
            return low + part * (high - low)
    return numbers[-1]


def _suggestion(
    points: Sequence[Point], today: float, invalidated: float
) -> tuple[float | None, str]:
    """Return a better expiry, or None, and the reason."""
    known = [point for point in points if point.seen] or list(points[:1])
    longest = known[-1]
    per_hour = longest.loads_per_hour / max(1e-9, 1 - longest.hit_ratio)
    now = (1 - at_expiry(points, today)) * per_hour
    least = min(point.loads_per_hour for point in known)
    # The shortest expiry that has at least 95 % of the possible gain.
    gain = max(0.0, max(point.loads_per_hour for point in known) - least)
    enough = next(point for point in known if point.loads_per_hour - least <= 0.05 * gain)
    beyond = _beyond(enough, longest, invalidated)
    saved = (now - enough.loads_per_hour) / now if now else 0.0
    if enough.expire > today and saved >= WORTH_IT:
        return enough.expire, f"{_fewer(saved)} at {duration(enough.expire)}; {beyond}"
    if enough.expire < today and longest.expire >= min(today, CANDIDATES[-1]):
        return enough.expire, f"{duration(enough.expire)} does as well as today's; {beyond}"
    if today > longest.expire:
        watched = f"calls were sampled for {duration(longest.expire)} only"
        return None, watched if enough is longest else f"{watched}; {beyond}"
    return None, f"nothing to gain: a longer expiry saves too few loads; {beyond}"


def _beyond(enough: Point, longest: Point, invalidated: float) -> str:
    more = f"more than {duration(enough.expire)} gains little"
    if enough is longest:
        return "no calls were sampled for longer yet"
    if longest.loads_per_hour == 0:
        return f"{more}: no loads are left"
    if invalidated >= 0.5:
        return f"{more}: most values are invalidated first"
    return f"{more}: the other loads are first calls of their keys"


def _fewer(saved: float) -> str:
    if 0.45 <= saved <= 0.55:
        return "half as many loads"
    return f"{saved:.0%} fewer loads"
