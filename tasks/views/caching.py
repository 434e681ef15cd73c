"""The page "How this works": what is stored of this visitor's list, and ways to try without it.

It is never stored itself, and shows nothing of another list.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from beakercache import cache
from tasks.bypass import COOKIE
from tasks.lists import ownership, queries
from tasks.lists.queries import Show


@dataclass(frozen=True, slots=True)
class Stored:
    """One call for this list, and what is stored for it."""

    title: str
    call: str
    value: Any
    """Its `stored` value; None: the next call loads."""


@dataclass(frozen=True, slots=True)
class Timed:
    """How long a call took, in seconds."""

    title: str
    cached: float
    uncached: float


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def how_it_works(request: HttpRequest) -> HttpResponse:
    """Show what is stored of this list; a POST invalidates it, or switches the cache off for this
    browser."""
    list_id = ownership.list_id(request)
    if request.method == "POST":
        return _change(request, list_id)
    last = None if list_id is None else cache.last_invalidation(_tag(list_id))
    context = {
        "list_id": list_id,
        "tag": None if list_id is None else _tag(list_id),
        "stored": [] if list_id is None else list(_stored(request, list_id)),
        "timed": _timed(list_id) if list_id is not None and "load" in request.GET else None,
        "last": last,
        "last_at": last and datetime.fromtimestamp(last.at, UTC),
        "keeps_nothing": bool(request.COOKIES.get(COOKIE)),
        "now": datetime.now(UTC),
    }
    return render(request, "tasks/how_it_works.html", context)


def _change(request: HttpRequest, list_id: int | None) -> HttpResponse:
    response = HttpResponseRedirect(reverse("tasks:how_it_works"))
    action = request.POST.get("action")
    if action == "invalidate" and list_id is not None:
        cache.invalidate_tags(_tag(list_id), *ownership.tags_of_pages(request))
        messages.success(request, "Everything stored of your list was invalidated.")
    elif action == "keep_nothing":
        response.set_cookie(
            COOKIE, "1", httponly=True, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE
        )
    elif action == "keep":
        response.delete_cookie(COOKIE, samesite="Lax")
    return response


def _tag(list_id: int) -> str:
    return f"list:{list_id}"


def _stored(request: HttpRequest, list_id: int) -> list[Stored]:
    found = []
    if request.user.is_authenticated:
        user_id = request.user.pk
        found.append(
            Stored("Which list is yours", f"list_of({user_id})", queries.list_of.stored(user_id))
        )
    for show in Show:
        value = queries.page_of.stored(list_id, show, 1)
        title = f"Tasks and counts, {show.label}"
        found.append(Stored(title, f"page_of({list_id}, {show.value!r}, 1)", value))
    return found


def _timed(list_id: int) -> Timed:
    arguments = list_id, Show.ALL, 1
    queries.page_of(*arguments)  # so that the next one is a hit
    return Timed(
        "Tasks and counts, All",
        _seconds(lambda: queries.page_of(*arguments)),
        _seconds(lambda: queries.page_of.uncached(*arguments)),
    )


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
