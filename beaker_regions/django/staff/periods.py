"""The period that the pages show: the last hour, the last day, or all that was ever counted."""

from __future__ import annotations

import time
from typing import NamedTuple

from django.http import HttpRequest

from beaker_regions.telemetry import aggregate

SECONDS = {"hour": 60 * 60, "day": 24 * 60 * 60, "all": None}
TITLES = {"hour": "Last hour", "day": "Last day", "all": "All"}
USUAL = "day"


class Period(NamedTuple):
    """One of the periods."""

    name: str
    since: float | None
    """When it began, in seconds since the epoch; None: it is not known."""
    now: float

    @property
    def hours(self) -> float | None:
        return None if self.since is None else (self.now - self.since) / 3600

    @property
    def choices(self) -> list[tuple[str, str]]:
        return list(TITLES.items())


def period_of(request: HttpRequest) -> Period:
    """Return the period that a request names."""
    name = request.GET.get("period", USUAL)
    name = name if name in SECONDS else USUAL
    seconds, now = SECONDS[name], time.time()
    return Period(name, None if seconds is None else aggregate.start_of(seconds, now), now)
