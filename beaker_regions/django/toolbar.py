"""A panel of django-debug-toolbar that lists what a page did with the regions.

``"beaker_regions.django.toolbar.RegionsPanel"`` in DEBUG_TOOLBAR_PANELS, and
"beaker_regions.django" in INSTALLED_APPS, which has its template.
"""

from __future__ import annotations

from typing import Any

from debug_toolbar.panels import Panel
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from beaker_regions.django.tracing import summary
from beaker_regions.telemetry import tracing
from beaker_regions.telemetry.tracing import Collected


class RegionsPanel(Panel):
    """The calls of cached functions, pages and fragments, in their order."""

    is_async = True
    title = "Regions"
    template = "regions/toolbar.html"

    def process_request(self, request: HttpRequest) -> Any:
        """Collect what the request calls."""
        with tracing.collecting() as collected:
            response = self.get_response(request)
            if hasattr(response, "__await__"):
                return self._awaited(response)
        self._collected = collected
        return response

    async def _awaited(self, response: Any) -> Any:
        with tracing.collecting() as collected:
            response = await response
        self._collected = collected
        return response

    def generate_stats(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Keep what was collected as plain data, which the toolbar stores."""
        collected: Collected = self._collected
        self.record_stats(  # type: ignore[no-untyped-call]
            {
                "summary": summary(collected),
                "milliseconds": f"{collected.seconds * 1e3:.2f}",
                "calls": [
                    {
                        "region": call.region,
                        "function": call.function,
                        "outcome": call.outcome,
                        "milliseconds": f"{call.seconds * 1e3:.2f}",
                        "round_trips": call.round_trips,
                        "indent": "\u2003" * call.depth,
                    }
                    for call in collected.calls
                ],
            }
        )

    @property
    def nav_subtitle(self) -> str:
        stats = self.get_stats()  # type: ignore[no-untyped-call]
        return f"{stats['summary']}, {stats['milliseconds']} ms" if stats else ""
