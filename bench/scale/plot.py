"""A log-log plot as SVG: points, lines, and marks on them, on a light ground."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 86, 24, 74, 64
"""What is left free around the plot, for labels."""
INK, GRID = "#333", "#ddd"


class Point(NamedTuple):
    x: float
    y: float


class Mark(NamedTuple):
    """A place on a line, with words beside it."""

    at: Point
    label: str


@dataclass(frozen=True)
class Series:
    """What belongs together, in one colour: a name in the legend, and points, a line, or both."""

    name: str
    colour: str
    line: Sequence[Point] = ()
    points: Sequence[Point] = ()
    marks: Sequence[Mark] = ()


@dataclass(frozen=True)
class Axis:
    """One that begins and ends at a power of ten; ``others`` are labels on its other side."""

    title: str
    first: float
    last: float
    others: Sequence[tuple[float, str]] = ()
    title_of_others: str = ""

    def share(self, number: float) -> float:
        """Return how far along the axis a number lies, from 0 to 1."""
        return math.log(number / self.first) / math.log(self.last / self.first)

    @property
    def decades(self) -> list[float]:
        exponents = range(round(math.log10(self.first)), round(math.log10(self.last)) + 1)
        return [10.0**exponent for exponent in exponents]


def svg(title: str, description: str, x: Axis, y: Axis, all_series: Sequence[Series]) -> str:
    """Return the plot as a document of its own."""
    floor, end = HEIGHT - BOTTOM, WIDTH - RIGHT

    def place(point: Point) -> tuple[float, float]:
        right = LEFT + x.share(point.x) * (end - LEFT)
        return round(right, 1), round(floor - y.share(point.y) * (floor - TOP), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        '<g font-family="system-ui, sans-serif" font-size="13">',
    ]
    for number in y.decades:
        _, at = place(Point(x.first, number))
        parts += [_rule(f"M{LEFT} {at}H{end}"), _text(LEFT - 8, at + 4, short(number), "end")]
    for number in x.decades:
        at, _ = place(Point(number, y.first))
        parts += [_rule(f"M{at} {TOP}V{floor}"), _text(at, floor + 20, short(number))]
    for number, label in x.others:
        at, _ = place(Point(number, y.first))
        parts += [_rule(f"M{at} {TOP - 6}V{TOP}", INK), _text(at, TOP - 12, label)]
    parts += [
        _rule(f"M{LEFT} {TOP}V{floor}H{end}", INK),
        _text((LEFT + end) / 2, HEIGHT - 16, x.title),
        _text((LEFT + end) / 2, 22, x.title_of_others),
        f'<g transform="rotate(-90 20 {(TOP + floor) / 2})">'
        + _text(20, (TOP + floor) / 2, y.title)
        + "</g>",
    ]
    for number, series in enumerate(all_series):
        at = TOP + 22 + 22 * number
        parts.append(_dot(LEFT + 20, at - 4, series.colour, bool(series.points)))
        if series.line:
            places = " L".join("{} {}".format(*place(point)) for point in series.line)
            parts += [
                f'<path d="M{places}" fill="none" stroke="{series.colour}" stroke-width="2"/>',
                f'<path d="M{LEFT + 10} {at - 4}h20" stroke="{series.colour}" stroke-width="2"/>',
            ]
        parts.append(_text(LEFT + 38, at, series.name, "start"))
        parts += [_dot(*place(point), series.colour, True) for point in series.points]
        for number_of_mark, mark in enumerate(sorted(series.marks)):
            # Below the line, and the further right the lower: no words meet another's rule.
            right, down = place(mark.at)
            low = floor - 22 * (len(series.marks) - number_of_mark)
            parts += [
                _rule(f"M{right} {down}V{low + 6}", series.colour),
                _dot(right, down, series.colour, False),
                _text(right - 6, low + 4, mark.label, "end"),
            ]
    return "\n".join([*parts, "</g></svg>", ""])


def _rule(path: str, colour: str = GRID) -> str:
    return f'<path d="{path}" fill="none" stroke="{colour}"/>'


def _dot(x: float, y: float, colour: str, is_full: bool) -> str:
    fill = colour if is_full else "#fff"
    return f'<circle cx="{x}" cy="{y}" r="4.5" fill="{fill}" stroke="{colour}" stroke-width="2"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{INK}">{escape(text)}</text>'


def short(number: float) -> str:
    """Return a number that fits beside an axis, such as 1.5k."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"
