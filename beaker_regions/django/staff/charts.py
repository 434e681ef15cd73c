"""Charts as plain numbers, which a template draws as SVG: no script, and no library."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from beaker_regions.reports.metrics import duration

if TYPE_CHECKING:
    from beaker_regions.reports.metrics import Prediction

WIDTH, HEIGHT = 400, 170
"""Of a chart, in the units of its view box."""
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 12, 24
"""What is left free around the plot, for labels."""
RIGHT_END, FLOOR = WIDTH - RIGHT, HEIGHT - BOTTOM


class Tick(NamedTuple):
    """A label on an axis."""

    at: float
    label: str
    anchor: str = "middle"


class Bar(NamedTuple):
    """A column, or the part of the plot whose title shows when a mouse points at it."""

    x: float
    y: float
    width: float
    height: float
    title: str = ""


class Mark(NamedTuple):
    """A line across the plot, with its name at the top."""

    x: float
    label: str
    kind: str
    anchor: str


@dataclass(frozen=True)
class Chart:
    """One chart. ``slug`` names it within its page."""

    slug: str
    title: str
    description: str
    """What it shows, in words, for who does not see it."""
    levels: tuple[Tick, ...]
    ticks: tuple[Tick, ...]
    lines: tuple[str, ...] = ()
    """Paths."""
    guesses: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    hovers: tuple[Bar, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    end: int = RIGHT_END
    floor: int = FLOOR
    empty: str = field(default="")
    """What to say where there is nothing to draw."""


def what_if(prediction: Prediction) -> list[Chart]:
    """Return the charts of the hit ratio and the seconds of loads an hour, against expiry."""
    seconds = [point.load_seconds_per_hour for point in prediction.points]
    top = nice(max(seconds))
    suggested = (
        f"; suggested: {duration(prediction.suggested)}" if prediction.suggested is not None else ""
    )
    today = f"Today's expiry is {duration(prediction.today)}{suggested}"
    return [
        _curve(
            prediction,
            "what-if-ratio",
            "Hit ratio, by expiry",
            today,
            [_y(point.hit_ratio, 1) for point in prediction.points],
            tuple(Tick(_y(level, 1), f"{level:.0%}") for level in (0, 0.5, 1)),
            [f"{point.hit_ratio:.1%}" for point in prediction.points],
        ),
        _curve(
            prediction,
            "what-if-loads",
            "Seconds of loads an hour, by expiry",
            today,
            [_y(number, top) for number in seconds],
            tuple(Tick(_y(level, top), short(level)) for level in (0, top / 2, top)),
            [f"{number:,.2f} s an hour" for number in seconds],
        ),
    ]


def _curve(
    prediction: Prediction,
    slug: str,
    title: str,
    description: str,
    heights: Sequence[float],
    levels: tuple[Tick, ...],
    told: Sequence[str],
) -> Chart:
    points = prediction.points
    first, last = points[0].expire, points[-1].expire

    def x(expire: float) -> float:
        way = math.log(min(max(expire, first), last) / first) / math.log(last / first)
        return round(LEFT + way * (RIGHT_END - LEFT), 2)

    places = [(x(point.expire), height) for point, height in zip(points, heights, strict=True)]
    seen = [place for place, point in zip(places, points, strict=True) if point.seen]
    guessed = places[max(0, len(seen) - 1) :]
    edges = [LEFT, *(round((a[0] + b[0]) / 2, 2) for a, b in itertools.pairwise(places))]
    marks = [_mark(x(prediction.today), f"today: {duration(prediction.today)}", "today")]
    if prediction.suggested is not None:
        label = f"suggested: {duration(prediction.suggested)}"
        marks.append(_mark(x(prediction.suggested), label, "suggested"))
    return Chart(
        slug,
        title,
        description,
        levels,
        tuple(
            Tick(x(expire), duration(expire))
            for expire in (1, 60, 60 * 60, 24 * 60 * 60)
            if first <= expire <= last
        ),
        lines=(_path(seen),) if len(seen) > 1 else (),
        guesses=(_path(guessed),) if len(guessed) > 1 else (),
        marks=tuple(marks),
        hovers=tuple(
            Bar(
                round(left, 2),
                TOP,
                round(right - left, 2),
                FLOOR - TOP,
                f"{duration(p.expire)}: {t}",
            )
            for left, right, p, t in zip(edges, [*edges[1:], RIGHT_END], points, told, strict=True)
        ),
    )


def _mark(x: float, label: str, kind: str) -> Mark:
    return Mark(x, label, kind, "end" if x > (LEFT + RIGHT_END) / 2 else "start")


# -- numbers -----------------------------------------------------------------------------------


def _y(number: float, top: float) -> float:
    return round(FLOOR - (FLOOR - TOP) * number / top, 2)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x:g} {y:g}" for x, y in points)


def nice(most: float) -> float:
    """Return a round number for the top of an axis, not below ``most``."""
    if most <= 0:
        return 1.0
    step: float = 10.0 ** math.floor(math.log10(most))
    return next(step * n for n in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * n >= most)


def short(number: float) -> str:
    """Return a number that fits beside an axis, such as 1.5k."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"
