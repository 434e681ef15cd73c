"""The line at the foot of a page that says where it came from: ``{% page_origin %}``.

The line is a placeholder of its own in a stored page. What never changes, such as the page's tags
and what its load called, is stored with the page as HTML. Only one sentence is made for each
request, without a template, since every hit makes it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from beaker_regions.telemetry.tracing import Call
from beaker_regions.telemetry.units import age, took

ORIGIN = "\norigin"
"""The name of the placeholder: no template has it."""
MOST = 30
"""Calls that are listed."""
_LINE = '<details class="page-origin"><summary>{}</summary>{}</details>'


class Origin(NamedTuple):
    """What is known of a page when it is loaded."""

    region: str
    view: str
    tags: tuple[str, ...]
    calls: Sequence[Call]
    """The calls of its load."""

    def details(self) -> str:
        """Return the part of the line that does not change, as HTML."""
        rows = [
            ("Region", self.region),
            ("Page", self.view),
            ("Tags", ", ".join(self.tags) or "none"),
        ]
        calls = [
            (call.region, call.function, call.outcome, took(call.seconds))
            for call in self.calls[:MOST]
        ]
        hits = sum(call.hits for call in self.calls)
        misses = sum(call.misses for call in self.calls)
        return format_html(
            "<dl>{}</dl><p>Its load called {} function{}: {} hit{}, {} miss{}.</p><ul>{}</ul>",
            format_html_join("", "<div><dt>{}</dt><dd>{}</dd></div>", rows),
            *(len(self.calls), "" if len(self.calls) == 1 else "s"),
            *(hits, "" if hits == 1 else "s"),
            *(misses, "" if misses == 1 else "es"),
            format_html_join("", "<li>{}: <code>{}</code>: {}, {}</li>", calls),
        )


def from_cache(stored_at: float, load_seconds: float, asked_at: float, details: str) -> bytes:
    """Return the line of a stored page. Times are in seconds since the epoch."""
    now = time.time()
    ago = age(int(now - stored_at))
    sent, made = took(max(0.0, now - asked_at)), took(load_seconds)
    return _line(f"From the cache: stored {ago} ago; {sent} instead of {made}", details)


def loaded(load_seconds: float, details: str) -> bytes:
    """Return the line of a page that this request has loaded."""
    return _line(f"Loaded now, in {took(load_seconds)}", details)


def not_stored(load_seconds: float, reason: str, details: str) -> bytes:
    """Return the line of a page that is not stored."""
    because = format_html(": {}", reason) if reason else ""
    return _line(f"Loaded now, in {took(load_seconds)}, and not stored{because}", details)


def of_no_page() -> SafeString:
    """Return the line of an answer that no region of pages has made."""
    return SafeString(
        '<p class="page-origin">Made for this request; what it shows may come from the cache</p>'
    )


def _line(sentence: str, details: str) -> bytes:
    return _LINE.format(sentence, details).encode()
