"""The what-if charts of a function, as numbers. A template draws them as SVG, without a script."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from beaker_regions.telemetry.expiry_advice import ExpiryAdvice
from beaker_regions.telemetry.units import duration

LEFT, RIGHT, TOP, BOTTOM = 44, 390, 12, 146
"""The edges of the plot, in the units of the view box. ``chart.html`` uses the same numbers."""
TICKS = (1, 60, 60 * 60, 24 * 60 * 60)
"""Labelled expiries, in seconds."""


def what_if(advice: ExpiryAdvice) -> list[dict[str, Any]]:
    """Return the charts of the hit ratio and of the seconds of loads an hour, by expiry."""
    ratios = [point.hit_ratio for point in advice.points]
    seconds = [point.load_seconds_per_hour for point in advice.points]
    return [
        _chart(advice, "Hit ratio", ratios, 1, "{:.0%}".format, "{:.1%}".format),
        _chart(
            advice,
            "Seconds of loads an hour",
            seconds,
            _round_top(max(seconds)),
            "{:,g}".format,
            "{:,.2f} s an hour".format,
        ),
    ]


def _chart(
    advice: ExpiryAdvice,
    title: str,
    numbers: Sequence[float],
    top: float,
    label: Callable[[float], str],
    text: Callable[[float], str],
) -> dict[str, Any]:
    """Return one chart. ``label`` formats a number for the axis, ``text`` for a point."""
    first, last = advice.points[0].expire, advice.points[-1].expire

    def x(expire: float) -> float:
        part = math.log(min(max(expire, first), last) / first) / math.log(last / first)
        return round(LEFT + part * (RIGHT - LEFT), 2)

    def y(number: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * number / top, 2)

    points = [
        (x(point.expire), y(number), f"{duration(point.expire)}: {text(number)}")
        for point, number in zip(advice.points, numbers, strict=True)
    ]
    seen = sum(point.seen for point in advice.points)
    marked = {"today": advice.today, "suggested": advice.suggested}
    return {
        "title": f"{title}, by expiry",
        "levels": [(y(number), label(number)) for number in (0, top / 2, top)],
        "ticks": [(x(expire), duration(expire)) for expire in TICKS if first <= expire <= last],
        "line": _path(points[:seen]),
        "guess": _path(points[max(0, seen - 1) :]),
        "marks": [
            (kind, x(expire), duration(expire))
            for kind, expire in marked.items()
            if expire is not None
        ],
        "points": points,
    }


def _path(points: Sequence[tuple[float, float, str]]) -> str:
    return "M" + " L".join(f"{x:g} {y:g}" for x, y, _ in points) if len(points) > 1 else ""


def _round_top(number: float) -> float:
    """Return a round number for the top of an axis, not below ``number``."""
    if number <= 0:
        return 1.0
    step: float = 10.0 ** math.floor(math.log10(number))
    return next(step * n for n in (1, 2, 5, 10, 20) if step * n >= number)
