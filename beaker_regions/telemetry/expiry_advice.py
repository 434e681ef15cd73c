"""What another expiry would do for a function: a curve, and what to make of it in words."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

from beaker_regions.telemetry.simulation import CANDIDATES, HOUR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beaker_regions.telemetry.simulation import Replay

ENOUGH = 100
"""Calls; of fewer nothing is said."""
WORTH_IT = 0.1
"""Share of today's loads that another expiry must save, to be suggested."""


class Point(NamedTuple):
    """One expiry, and what it would have done."""

    expire: float
    """Seconds."""
    hit_ratio: float
    loads_per_hour: float
    load_seconds_per_hour: float
    seen: bool
    """Whether calls were watched for at least this long: beyond, it is a guess."""


class Prediction(NamedTuple):
    """What is known of a function's calls, and what each expiry would have done with them."""

    today: float
    """The expiry it has, in seconds; infinity: for ever."""
    calls: float
    hours: float
    """For how long calls were watched."""
    hit_ratio: float
    """What is predicted for today's expiry."""
    load_seconds: float
    """Of one load, on average."""
    invalidated: float
    """Share of the misses under the longest expiry that come from invalidations."""
    points: tuple[Point, ...]
    """By expiry; empty where too little is known."""
    suggested: float | None
    """Another expiry, in seconds; None: leave it."""
    reason: str


def predict(replay: Replay, today: float, load_seconds: float, hours: float) -> Prediction:
    """Return what is predicted from the calls of the last ``hours``, for a function whose expiry
    is ``today`` and which takes ``load_seconds`` to load."""
    last = int(replay.last) // HOUR
    taken = [hour for at, hour in replay.hours.items() if at > last - hours]
    calls = sum(hour.calls for hour in taken)
    begun = max(replay.first, (last - hours + 1) * HOUR)
    watched = max(replay.last - begun, 1.0) if taken else 0.0
    if calls < ENOUGH:
        reason = f"only {calls:.0f} calls were seen: too few to say anything"
        return Prediction(
            today, calls, watched / HOUR, math.nan, load_seconds, math.nan, (), None, reason
        )
    misses = [
        min(calls, sum(hour.misses[which] for hour in taken)) for which in range(len(CANDIDATES))
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
    return Prediction(
        today, calls, watched / HOUR, ratio, load_seconds, share, points, suggested, reason
    )


def at_expiry(points: Sequence[Point], expire: float) -> float:
    """Return the hit ratio at any expiry: between two points, along the logarithm of time."""
    if expire <= points[0].expire:
        return points[0].hit_ratio
    for before, after in itertools.pairwise(points):
        if expire <= after.expire:
            way = math.log(expire / before.expire) / math.log(after.expire / before.expire)
            return before.hit_ratio + way * (after.hit_ratio - before.hit_ratio)
    return points[-1].hit_ratio


def _suggestion(
    points: Sequence[Point], today: float, invalidated: float
) -> tuple[float | None, str]:
    """Return another expiry, or None, and why."""
    known = [point for point in points if point.seen] or list(points[:1])
    longest = known[-1]
    per_hour = longest.loads_per_hour / max(1e-9, 1 - longest.hit_ratio)
    now = (1 - at_expiry(points, today)) * per_hour
    least = min(point.loads_per_hour for point in known)
    # The shortest that has all but a twentieth of what there is to gain.
    gain = max(0.0, max(point.loads_per_hour for point in known) - least)
    enough = next(point for point in known if point.loads_per_hour - least <= 0.05 * gain)
    beyond = _beyond(enough, longest, invalidated)
    saved = (now - enough.loads_per_hour) / now if now else 0.0
    if enough.expire > today and saved >= WORTH_IT:
        return enough.expire, f"{_fewer(saved)} at {duration(enough.expire)}; {beyond}"
    if enough.expire < today and longest.expire >= min(today, CANDIDATES[-1]):
        return enough.expire, f"{duration(enough.expire)} does as well as today's; {beyond}"
    if today > longest.expire:
        watched = f"calls were watched for {duration(longest.expire)} only"
        return None, watched if enough is longest else f"{watched}; {beyond}"
    return None, f"nothing to gain: longer saves no loads worth it; {beyond}"


def _beyond(enough: Point, longest: Point, invalidated: float) -> str:
    over = f"over {duration(enough.expire)} gains little"
    if enough is longest:
        return "longer was not watched yet"
    if longest.loads_per_hour == 0:
        return f"{over}, there are no loads left"
    if invalidated >= 0.5:
        return f"{over}, invalidations come first"
    return f"{over}, the other loads are first calls of their keys"


def _fewer(saved: float) -> str:
    if 0.45 <= saved <= 0.55:
        return "half as many loads"
    return f"{saved:.0%} fewer loads"


def duration(seconds: float) -> str:
    """Return a time for people, such as "5 d" or "1.5 h"."""
    if math.isinf(seconds):
        return "never"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
