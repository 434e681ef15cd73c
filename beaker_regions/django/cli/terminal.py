"""Tables and charts for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from beaker_regions.reports.metrics import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from beaker_regions.reports.metrics import Prediction

WIDTH = 50
"""Characters of a bar."""


def table(rows: Sequence[dict[str, Any]], forms: dict[str, Callable[[Any], str]]) -> str:
    """Return rows of the same keys as lines of text, under the names in ``forms``, which tells
    how each is written; None is nothing."""
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


def chart(prediction: Prediction) -> str:
    """Return the what-if of a function: a line for each expiry, and a bar for its hit ratio."""
    marked = min(
        prediction.points,
        key=lambda point: abs(math.log(point.expire) - math.log(min(prediction.today, 1e9))),
        default=None,
    )
    lines = [f"{'expire':>8}  {'hits':>6}  {'loads/h':>9}  {'load s/h':>9}"]
    for point in prediction.points:
        bar = ("█" if point.seen else "░") * round(point.hit_ratio * WIDTH)
        notes = []
        if point is marked:
            notes.append("today")
        if point.expire == prediction.suggested:
            notes.append("suggested")
        lines.append(
            f"{duration(point.expire):>8}  {percent(point.hit_ratio):>6}  "
            f"{point.loads_per_hour:>9,.1f}  {point.load_seconds_per_hour:>9,.2f}  "
            f"{bar} {' '.join(f'← {note}' for note in notes)}".rstrip()
        )
    if any(not point.seen for point in prediction.points):
        lines.append("░ longer than calls were watched: a guess")
    return "\n".join(lines)


def percent(ratio: float) -> str:
    return "" if math.isnan(ratio) else f"{ratio:.1%}"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f}"


def size(number: float) -> str:
    """Return a size for people, such as "3.4 MB"."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TB"
