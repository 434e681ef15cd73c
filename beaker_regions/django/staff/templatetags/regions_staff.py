"""Filters that write numbers and times on the staff's pages. An unknown value is a dash."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django import template

from beaker_regions.telemetry import units
from beaker_regions.telemetry.miss_reasons import REASONS

register = template.Library()
NOTHING = "\u2013"


@register.filter
def duration(seconds: float | None) -> str:
    """Write an expiry or an age. None is an expiry of never."""
    return units.duration(math.inf if seconds is None else seconds)


@register.filter
def took(seconds: float | None) -> str:
    """Write a measured time."""
    return NOTHING if seconds is None else units.took(seconds)


@register.filter
def size(number: float | None) -> str:
    return units.size(number) if number else NOTHING


@register.filter
def number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,}"


@register.filter
def percent(ratio: float | None) -> str:
    return NOTHING if ratio is None else units.percent(ratio) or NOTHING


@register.filter
def ago(at: float) -> str:
    """Write the age of a time in seconds since the epoch."""
    return f"{units.age(round(time.time() - at))} ago"


@register.filter
def a_minute(calls: float, hours: float) -> str:
    """Write a number of calls per minute."""
    return f"{float(f'{calls / (hours * 60):.3g}'):,g}"


@register.filter
def rounded(value: int) -> int:
    """Round an estimate to two digits."""
    return int(float(f"{value:.2g}"))


@register.filter
def missed_parts(missed: dict[str, int]) -> list[dict[str, Any]]:
    """Return the parts of a bar of 100 units: one for each reason, as long as its share."""
    whole, start, parts = sum(missed.values()), 0.0, []
    for reason, times in missed.items():
        width = 100 * times / whole
        text = f"{REASONS[reason]} {times:,} ({units.percent(times / whole)})"
        parts.append(
            {"reason": reason, "start": round(start, 2), "width": round(width, 2), "text": text}
        )
        start += width
    return parts


@register.filter
def missed_text(missed: dict[str, int]) -> str:
    """Write the reasons of misses as one text."""
    return ", ".join(part["text"] for part in missed_parts(missed))


@register.filter
def moment(at: float) -> datetime:
    """Return seconds since the epoch as a date."""
    return datetime.fromtimestamp(at, UTC)


@register.filter
def cell(row: dict[str, Any], column: str) -> str:
    """Write a cell of the functions' table."""
    value = row[column]
    if column == "expire":
        # The expiry of another release's function is not known.
        return NOTHING if row["grace"] is None else duration(value)
    if column in _FORMS:
        return _FORMS[column](value)
    return value if isinstance(value, str) else f"{value:,}"


_FORMS: dict[str, Callable[[Any], str]] = {
    "hit_ratio": percent,
    "suggested": lambda seconds: NOTHING if seconds is None else duration(seconds),
    "load_average": took,
    "seconds_saved": lambda seconds: took(seconds) if seconds else NOTHING,
}


@register.filter
def hours(number: float) -> str:
    return units.duration(number * 3600)
