"""Tables and charts for a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from beaker_regions.telemetry.expiry_advice import ExpiryAdvice
from beaker_regions.telemetry.units import duration, percent

WIDTH = 50
"""Characters of a bar."""


def table(rows: Sequence[dict[str, Any]], forms: dict[str, Callable[[Any], str]]) -> str:
    """Return rows as lines of text. ``forms`` has the columns, and how to write a value of each.
    None is left out."""
    cells = [list(forms)]
    cells += [
        ["" if row[key] is None else form(row[key]) for key, form in forms.items()] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numbers = [not rows or isinstance(rows[0][key], int | float) for key in forms]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in cells
    )


def chart(advice: ExpiryAdvice) -> str:
    """Return a line for each expiry of an advice, with a bar for its hit ratio."""
    marked = min(
        advice.points,
        key=lambda point: abs(math.log(point.expire) - math.log(min(advice.today, 1e9))),
        default=None,
    )
    lines = [f"{'expire':>8}  {'hits':>6}  {'loads/h':>9}  {'load s/h':>9}"]
    for point in advice.points:
        bar = ("█" if point.seen else "░") * round(point.hit_ratio * WIDTH)
        notes = []
        if point is marked:
            notes.append("today")
        if point.expire == advice.suggested:
            notes.append("suggested")
        lines.append(
            f"{duration(point.expire):>8}  {percent(point.hit_ratio):>6}  "
            f"{point.loads_per_hour:>9,.1f}  {point.load_seconds_per_hour:>9,.2f}  "
            f"{bar} {' '.join(f'← {note}' for note in notes)}".rstrip()
        )
    if any(not point.seen for point in advice.points):
        lines.append("░ a guess: calls were not sampled for so long")
    return "\n".join(lines)
