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
repeated. An answer is repeated for as long again as it has stayed the same, an hour at most.

With the application of `beaker_regions.django.wsgi`, it answers before Django's handler, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.signals import setting_changed
from django.http import HttpRequest
from django.utils.autoreload import file_changed

from beaker_regions.django.pages.repeats import (
    Answer,
    Repeatable,
    Served,
    Signature,
    Watch,
    bare,
    repeatable,
    signature_of,
)
from beaker_regions.runtime.recent import Recent
from beaker_regions.telemetry import tracing

MOST_BYTES = 32 << 20
"""The memory of a process that remembered requests may take, about."""
APART = 1.0
"""Seconds between two equal answers before the next one is repeated. A header field that has the
time in seconds differs in them."""
LONGEST = 3600.0
"""Seconds after which an answer is made again by all middleware, even if it never changed."""
_LARGEST = 16
"""A request may take this part of it."""
_OVERHEAD, _OF_FIELD = 4000, 160
"""Bytes that a request takes, and each of its fields, besides their texts and its page."""
_ASKED = "beaker_regions.asked"
"""The key of META for the signature of a request that could not be answered before Django."""


class _Slot:
    """What is remembered of a request. Times are by the monotonic clock, in seconds."""

    def __init__(self, signature: Signature) -> None:
        self._fields = sum([_OF_FIELD + len(name) + len(value) for name, value in signature])
        self.since = 0.0
        """When an equal request had the last answer for the first time."""
        self.until = 0.0
        """How long the confirmed answer is given."""
        self.chosen_in = 0
        """The second since the epoch in which its page was last chosen."""
        self.repeatable: Repeatable | None = None
        """The answer that an equal request has had last."""
        self.confirmed: Repeatable | None = None
        """The answer that two equal requests have had."""
        self.refused: Repeatable | None = None
        """An answer that they have had, and that cannot be given again."""

    def size_with(self, answer: Repeatable) -> int:
        """Return the bytes that it takes with an answer, about."""
        return _OVERHEAD + self._fields + answer.size


class _Slots:
    """What is remembered of the requests that were made last."""

    def __init__(self) -> None:
        self._slots: Recent[Signature, _Slot] = Recent(MOST_BYTES)
        self.find = self._slots.get

    def note(
        self,
        signature: Signature,
        asked_at: float,
        request: HttpRequest,
        made: Repeatable,
        served: Served,
    ) -> None:
        """Note the answer to a request that came at ``asked_at``."""
        slot, now = self.find(signature) or _Slot(signature), time.monotonic()
        if made != slot.repeatable:
            slot.since, answer = now, None
        elif made == slot.refused or asked_at < slot.since + APART:
            return
        else:
            # What depends on the clock does not change for longer than it has stayed the same.
            slot.until = asked_at + min(asked_at - slot.since, LONGEST)
            if slot.confirmed is not None and slot.confirmed._replace(compressed=None) == made:
                return
            answer = made.confirmed(request, served)
            if answer is None or slot.size_with(answer) > MOST_BYTES // _LARGEST:
                slot.refused, answer = made, None
        size = slot.size_with(answer or made)
        if size <= MOST_BYTES // _LARGEST:
            slot.repeatable, slot.confirmed = made, answer
            self._slots.put(signature, slot, size)


class RepeatedRequests:
    """Answers equal requests without other middleware. Under ASGI it does nothing."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        self._forget()
        setting_changed.connect(self._forget)
        file_changed.connect(self._forget)

    def _forget(self, **_: object) -> None:
        self._slots = _Slots()

    def __call__(self, request: HttpRequest) -> Any:
        meta = request.META
        signature = None if self._is_async else meta.pop(_ASKED, None)
        if signature is None:
            signature = self._signature_of(meta)
            if signature is None:
                return self._get_response(request)
            answer = self._answer(meta, signature, partial(bare, request))
            if answer is not None:
                return answer.response()
        asked_at, slots = time.monotonic(), self._slots
        with Watch().watching(request) as watch:
            response = self._get_response(request)
        made, served = repeatable(request, response, watch), watch.served
        if made is not None and served is not None:
            slots.note(signature, asked_at, request, made, served)
        return response

    def answer_before_django(
        self, environ: dict[str, Any], bare: Callable[[], HttpRequest]
    ) -> Answer | None:
        """Return the answer to a request that Django has not seen; None: Django must answer.
        ``bare`` returns the request."""
        signature = self._signature_of(environ)
        if signature is None:
            return None
        answer = self._answer(environ, signature, bare)
        if answer is None:
            # Of the server's own values: Django's request has decoded the path.
            environ[_ASKED] = signature
        return answer

    def _signature_of(self, meta: dict[str, Any]) -> Signature | None:
        return None if self._is_async or tracing.watchers else signature_of(meta)

    def _answer(
        self, meta: dict[str, Any], signature: Signature, bare: Callable[[], HttpRequest]
    ) -> Answer | None:
        slot = self._slots.find(signature)
        if slot is None:
            return None
        # Other threads may change the slot meanwhile.
        confirmed = slot.confirmed if time.monotonic() < slot.until else None
        if confirmed is None:
            return None
        second = int(time.time())
        answer = confirmed.answer(meta, bare, is_chosen=slot.chosen_in == second)
        if answer is not None:
            slot.chosen_in = second
        return answer
