"""The expiries that are worth changing, by what the change saves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import NamedTuple

from beaker_regions.django.cli import reports
from beaker_regions.django.cli.reports import Function, Report
from beaker_regions.telemetry.expiry_advice import ExpiryAdvice, load_seconds_at

ASKED = 25
"""Functions for which the effect of other expiries is computed: those whose loads take the most
time, because no change saves more than that."""
LEAST = 1.0
"""Seconds of loads an hour that a change must save, or it is not worth a line."""


class Change(NamedTuple):
    """A better expiry of a function."""

    function: str
    region: str
    expire: float
    """Seconds, now; infinity: never."""
    suggested: float
    """Seconds."""
    saved: float
    """Seconds of loads an hour."""
    line: str
    """The line for ``beakercache.py``, or the option of the decorator."""
    of_region: bool
    """Whether the line changes every function of the region that has no expiry of its own."""


def suggestions(rows: Iterable[Report], hours: float) -> dict[tuple[str, str], ExpiryAdvice]:
    """Return the advice for the functions whose loads take the most time, from the calls of the
    last ``hours``, by region and function."""
    with contextlib.suppress(OSError):  # health reports it
        reports.bring_up_to_date()
    costly = sorted(rows, key=lambda row: -float(row["load_seconds"]))[:ASKED]
    wanted = {(row["region"], row["function"]) for row in costly if row["load_seconds"]}
    found = {}
    for each in reports.functions():
        name = each.region.name, each.name
        if name in wanted:
            with contextlib.suppress(OSError):
                if advice := reports.advice_for(each, hours):
                    found[name] = advice
    return found


def changes(advices: dict[tuple[str, str], ExpiryAdvice]) -> list[Change]:
    """Return the suggestions that save time, the most first."""
    known = {(each.region.name, each.name): each for each in reports.functions()}
    found = [
        change
        for name, advice in advices.items()
        if (change := _change(known[name], advice)) is not None
    ]
    return sorted(found, key=lambda change: -change.saved)


def _change(function: Function, advice: ExpiryAdvice) -> Change | None:
    if advice.suggested is None:
        return None
    now = load_seconds_at(advice.points, advice.today)
    saved = now - load_seconds_at(advice.points, advice.suggested)
    if saved < LEAST:
        return None
    of_region = function.policy.expire == function.region.options.expire
    number = f"{advice.suggested:g}"
    region = function.region.name
    line = f'"cache.{region}.expire": {number},' if of_region else f"expire={number}"
    return Change(function.name, region, advice.today, advice.suggested, saved, line, of_region)
