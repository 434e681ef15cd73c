"""Middleware that answers before all other: ``beaker_regions.django.middleware.RepeatedRequests``.

Put it at the top of MIDDLEWARE, or below what has to see every request, such as a count of them::

    MIDDLEWARE = [
        "beaker_regions.django.middleware.RepeatedRequests",
        "django.middleware.security.SecurityMiddleware",
        ...
    ]

It answers a request that is equal to an earlier one with the page of a `region_page` that the
earlier one got, if session and page have not changed (`beaker_regions.django.pages.repeats`). The
middleware below it, and the decorators around the view, then do not run: their part is the header
fields, which the earlier answer had. What they add must depend on the request and its session
alone, and must not differ in each answer; a page that gets another header field each time is not
repeated.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.signals import setting_changed
from django.utils.autoreload import file_changed

from beaker_regions.django.pages.repeats import Repeatable, Watch, repeatable, signature_of
from beaker_regions.telemetry import tracing

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

    from beaker_regions.django.pages.repeats import Signature

REMEMBERED = 1024
"""Requests; the least recently used ones are dropped."""


class _Slot:
    """What is remembered of a request."""

    repeatable: Repeatable | None = None
    """The answer that an equal request has had last."""
    confirmed: Repeatable | None = None
    """The answer that two equal requests have had."""


class RepeatedRequests:
    """Answers equal requests without other middleware. Under ASGI it does nothing."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        self._slot_of: Callable[[Signature], _Slot]
        self._forget()
        setting_changed.connect(self._forget)
        file_changed.connect(self._forget)

    def _forget(self, **_: object) -> None:
        self._slot_of = functools.lru_cache(REMEMBERED)(lambda _: _Slot())

    def __call__(self, request: HttpRequest) -> Any:
        signature = None if self._is_async or tracing.watchers else signature_of(request)
        if signature is None:
            return self._get_response(request)
        asked_at, slot = time.time(), self._slot_of(signature)
        if slot.confirmed is not None:
            response = slot.confirmed.answer(request, asked_at)
            if response is not None:
                return response
        with Watch().watching(request) as watch:
            response = self._get_response(request)
        made, served = repeatable(request, response, watch), watch.served
        if made is not None and served is not None:
            if made != slot.repeatable:
                slot.repeatable, slot.confirmed = made, None
            elif slot.confirmed is None or slot.confirmed._replace(compressed=None) != made:
                slot.confirmed = made.confirmed(served)
        return response
