"""How the staff's pages write numbers and times; what is not known is a dash."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django import template

from beaker_regions.django.cli import terminal
from beaker_regions.reports.metrics import duration as _duration

register = template.Library()
NOTHING = "\u2013"


@register.filter
def duration(seconds: float | None) -> str:
    """Write a time; of an expiry, None is for ever."""
    return _duration(math.inf if seconds is None else seconds)


@register.filter
def took(seconds: float | None) -> str:
    """Write what something took."""
    if seconds is None:
        return NOTHING
    if seconds >= 1 or seconds == 0:
        return _duration(seconds)
    return f"{seconds * 1e3:,.1f} ms" if seconds >= 0.001 else f"{seconds * 1e6:.0f} µs"


@register.filter
def size(number: float | None) -> str:
    return terminal.size(number) if number else NOTHING


@register.filter
def number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,}"


@register.filter
def percent(ratio: float | None) -> str:
    return NOTHING if ratio is None or math.isnan(ratio) else f"{ratio:.1%}"


@register.filter
def share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


@register.filter
def ago(at: float) -> str:
    """Write how long ago something was, given seconds since the epoch."""
    return f"{_duration(max(0, round(time.time() - at)))} ago"


@register.filter
def moment(at: float) -> datetime:
    """Make seconds since the epoch a date."""
    return datetime.fromtimestamp(at, UTC)


@register.filter
def cell(row: dict[str, Any], column: str) -> str:
    """Write what stands in a column of the functions' table."""
    value = row[column]
    if column == "expire":
        # Of a function of another release it is not known.
        return NOTHING if row["grace"] is None else duration(value)
    if column in _FORMS:
        return _FORMS[column](value)
    return value if isinstance(value, str) else f"{value:,}"


_FORMS: dict[str, Callable[[Any], str]] = {
    "hit_ratio": percent,
    "load_average": took,
    "bytes_in": size,
    "bytes_out": size,
    "seconds_saved": lambda seconds: took(seconds) if seconds else NOTHING,
}


@register.filter
def hours(number: float) -> str:
    return _duration(number * 3600)
