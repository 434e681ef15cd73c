"""The pages: all regions and functions; one function, with the effect of other expiries; the form
to invalidate."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from beaker_regions.django.cli import reports
from beaker_regions.django.cli.reports import Report
from beaker_regions.django.staff import charts, state, worth_changing
from beaker_regions.django.staff.access import staff_only
from beaker_regions.django.staff.models import INVALIDATE
from beaker_regions.django.staff.periods import period_of
from beaker_regions.django.staff.targets import is_function, target
from beaker_regions.engine.region import Region, all_regions, regions_named
from beaker_regions.reports import metrics
from beaker_regions.reports.metrics import Activity
from beaker_regions.telemetry.event_log import LoggedEvent
from beaker_regions.telemetry.expiry_advice import ExpiryAdvice
from beaker_regions.telemetry.miss_reasons import REASONS

WEEK = 7 * 24
"""Hours."""
EVENTS = 10
"""Events that are shown of each kind."""
COLUMNS = {
    "function": "Function",
    "expire": "Expiry",
    "suggested": "Suggested",
    "calls": "Calls",
    "hit_ratio": "Hit ratio",
    "loads": "Loads",
    "load_average": "A load takes",
    "seconds_saved": "Time saved",
    "missed": "Why it missed",
}
TEXTS = ("function",)
SESSIONS = "beaker_regions.django.sessions.stored_session"
"""The function whose calls are sessions: each request that changes one invalidates it."""


@require_safe
@staff_only
def index(request: HttpRequest) -> HttpResponse:
    """Show what is wrong, what is worth changing, and all regions and functions."""
    wanted, order = request.GET.get("q", "").strip(), request.GET.get("order", "")
    order = order if order in COLUMNS else "calls"
    with_sessions = "sessions" in request.GET
    period = period_of(request)
    visitors, imports = metrics.apart(reports.counts(all_regions(), period.since))
    functions = reports.activity(visitors)
    advices = worth_changing.suggestions(functions, period.hours or WEEK)
    for each in functions:
        advice = advices.get((each["region"], each["function"]))
        each["suggested"] = None if advice is None else advice.suggested
        each["here"] = bool(regions_named(each["region"]))
    shown = [each for each in functions if wanted.lower() in each["function"].lower()]
    regions, servers = state.regions_and_servers(metrics.activities(visitors))
    return _page(
        request,
        "index",
        title="Regions",
        period=period,
        problems=state.problems(regions),
        changes=worth_changing.changes(advices),
        sums=reports.total(done for done in metrics.activities(visitors) if done.function),
        regions=regions,
        servers=servers,
        functions=_sorted(shown, order),
        total=len(functions),
        columns=COLUMNS,
        reasons=REASONS,
        order=order,
        wanted=wanted,
        imports=_imports(metrics.activities(imports)),
        slowest=_highest(metrics.slowest_loads),
        largest=_highest(metrics.largest_values),
        invalidations=_invalidations(with_sessions=with_sessions),
        with_sessions=with_sessions,
    )


def _imports(done: list[Activity]) -> list[tuple[str, Report]]:
    """Return what imports did, by region."""
    names = sorted({each.region for each in done})
    found = [(name, reports.total(each for each in done if each.region == name)) for name in names]
    return [(name, sums) for name, sums in found if sums["calls"]]


def _sorted(rows: list[dict[str, Any]], order: str) -> list[dict[str, Any]]:
    """Sort by a column: texts from A to Z, the highest number first, unknown values last."""
    if order in TEXTS:
        return sorted(rows, key=lambda row: row[order])
    if order == "missed":
        order = "misses"
    return sorted(rows, key=lambda row: -math.inf if row[order] is None else row[order])[::-1]


def _events(
    read: Callable[[Path, int], list[LoggedEvent]], most: int = EVENTS
) -> list[LoggedEvent]:
    """Return the events of one kind from all folders."""
    return [event for folder in metrics.folders() for event in read(folder, most)]


def _highest(read: Callable[[Path, int], list[LoggedEvent]]) -> list[LoggedEvent]:
    return sorted(_events(read), key=lambda event: -event.number)[:EVENTS]


def _invalidations(*, with_sessions: bool) -> list[LoggedEvent]:
    """Return the last invalidations. An invalidation of a tag, logged for each region, is one."""
    found: dict[tuple[str, int], LoggedEvent] = {}
    for event in sorted(_events(metrics.invalidations, 1000), key=lambda event: -event.at):
        if SESSIONS in event.what and not with_sessions:
            continue
        same = event.what, round(event.at)
        first = found.setdefault(same, event)
        named = {*first.region.split(", "), event.region}
        found[same] = first._replace(region=", ".join(sorted(named)))
    return list(found.values())[: 2 * EVENTS]


@require_safe
@staff_only
def function(request: HttpRequest) -> HttpResponse:
    """Show one function, page or fragment."""
    region_name, name = request.GET.get("region", ""), request.GET.get("name", "")
    if not is_function(region_name, name):
        raise Http404(f"There is no cached function {name!r} in a region {region_name!r}")
    region = next(
        (each for each in regions_named(region_name) if name in each.policies),
        regions_named(region_name)[0],
    )
    period = period_of(request)
    visitors, _ = metrics.apart(reports.counts(all_regions(), period.since))
    done = metrics.activity(metrics.activities(visitors), region_name, name)
    advice = _advice(region, name)
    return _page(
        request,
        "function",
        title=name,
        period=period,
        report=reports.of_activity(done, region.policies.get(name)),
        advice=advice,
        what_if=charts.what_if(advice) if advice and advice.points else [],
        known=name in region.policies,
    )


def _advice(region: Region, name: str) -> ExpiryAdvice | None:
    """Return the advice up to now. If this process does not know the function's expiry, the
    region's is used. So it is for a fragment that only other processes have rendered."""
    folder, policy = region.metrics, region.policies.get(name)
    if folder is None:
        return None
    today = region.options.expire if policy is None else policy.expire
    with contextlib.suppress(OSError):
        metrics.bring_up_to_date(folder)
        return metrics.advise(folder, region.name, name, today)
    return None


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def invalidate(request: HttpRequest) -> HttpResponse:
    """Ask for confirmation, then invalidate. It needs a permission."""
    if not request.user.has_perm(INVALIDATE):
        raise PermissionDenied(f"This needs the permission {INVALIDATE}")
    if request.method != "POST":
        found = target(request.GET)
        return _page(request, "invalidate", title="Invalidate?", target=found)
    found = target(request.POST)
    found.invalidate(request.user.pk)
    messages.success(request, f"Invalidated: {found.title}")
    return redirect("regions:index")


def _page(request: HttpRequest, name: str, **context: Any) -> HttpResponse:
    return render(request, f"regions/staff/{name}.html", admin.site.each_context(request) | context)
