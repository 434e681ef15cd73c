"""The calls of each request, for developers: in a header, a log, and spans.

``beaker_regions.django.tracing.ServerTiming`` in MIDDLEWARE, as far out as it may be, sums up a
page's calls in a header that browsers show beside the page's other times
(https://www.w3.org/TR/server-timing/). It does so only while DEBUG is on: a visitor could
learn from the times whether a value was stored.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest

from beaker_regions.telemetry import tracing
from beaker_regions.telemetry.tracing import Collected


def watch_calls() -> None:
    """Log calls where their logger wants to know of them, and make spans of them where
    OpenTelemetry has been set up."""
    if tracing.logger.isEnabledFor(logging.DEBUG):
        tracing.log_calls()
    if importlib.util.find_spec("opentelemetry") is not None:
        from beaker_regions.telemetry import opentelemetry

        if opentelemetry.is_configured():
            opentelemetry.trace_calls()


class ServerTiming:
    """Middleware that sends the time of a page's calls of cached functions to the browser."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        if not settings.DEBUG:
            raise MiddlewareNotUsed
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self._get_response):
            return self._acall(request)
        with tracing.collecting() as collected:
            response = self._get_response(request)
        return _timed(response, collected)

    async def _acall(self, request: HttpRequest) -> Any:
        with tracing.collecting() as collected:
            response = await self._get_response(request)
        return _timed(response, collected)


def _timed(response: Any, collected: Collected) -> Any:
    timing = f'regions;dur={collected.seconds * 1e3:.2f};desc="{summary(collected)}"'
    # A view may have set times of its own.
    before = response.headers.get("Server-Timing")
    response.headers["Server-Timing"] = f"{before}, {timing}" if before else timing
    return response


def summary(collected: Collected) -> str:
    """Return how many hits, misses and round trips there were."""
    stale = f"{collected.stale} stale, " if collected.stale else ""
    return (
        f"{_plural(collected.hits, 'hit')}, {stale}"
        f"{_plural(collected.misses, 'miss', 'misses')}, "
        f"{_plural(collected.round_trips, 'round trip')}"
    )


def _plural(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
