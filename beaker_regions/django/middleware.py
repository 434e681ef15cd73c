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

import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.signals import setting_changed
from django.http import HttpRequest
from django.utils.autoreload import file_changed

from beaker_regions.django.pages.repeats import (
    Repeatable,
    Served,
    Signature,
    Watch,
    repeatable,
    signature_of,
)
from beaker_regions.telemetry import tracing

MOST_BYTES = 32 << 20
"""The memory of a process that remembered requests may take, about."""
_LARGEST = 16
"""A request may take this part of it."""
_OVERHEAD, _OF_FIELD = 4000, 160
"""Bytes that a request takes, and each of its fields, besides their texts and its page."""


class _Slot:
    """What is remembered of a request."""

    def __init__(self, signature: Signature) -> None:
        self._fields = sum([_OF_FIELD + len(name) + len(value) for name, value in signature])
        self.repeatable: Repeatable | None = None
        """The answer that an equal request has had last."""
        self.confirmed: Repeatable | None = None
        """The answer that two equal requests have had."""
        self.refused: Repeatable | None = None
        """An answer that they have had, and that cannot be given again."""

    def size_with(self, answer: Repeatable | None) -> int:
        """Return the bytes that it takes with a confirmed answer, about."""
        compressed = answer.compressed if answer is not None else None
        return _OVERHEAD + self._fields + (compressed.size if compressed is not None else 0)


class _Slots:
    """What is remembered of the requests that were made last."""

    def __init__(self) -> None:
        self._recent: dict[Signature, _Slot] = {}
        """Those made since the last time that this filled one half of the memory."""
        self._older: dict[Signature, _Slot] = {}
        self._bytes = 0
        """Of the recent ones, about: threads may count at the same time."""

    def find(self, signature: Signature) -> _Slot | None:
        slot = self._recent.get(signature)
        if slot is None:
            slot = self._older.get(signature)
            if slot is not None:
                self._keep(signature, slot, slot.size_with(slot.confirmed))
        return slot

    def note(self, signature: Signature, made: Repeatable, served: Served) -> None:
        """Note the answer that a request has had."""
        slot = self.find(signature) or _Slot(signature)
        confirmed = slot.confirmed
        answer = None
        if made == slot.repeatable:
            if made == slot.refused or (confirmed and confirmed._replace(compressed=None) == made):
                return
            answer = made.confirmed(served)
            if answer is None or slot.size_with(answer) > MOST_BYTES // _LARGEST:
                slot.refused, answer = made, None
        size = slot.size_with(answer)
        if size <= MOST_BYTES // _LARGEST:
            slot.repeatable, slot.confirmed = made, answer
            self._keep(signature, slot, size)

    def _keep(self, signature: Signature, slot: _Slot, size: int) -> None:
        self._recent[signature] = slot
        self._older.pop(signature, None)
        self._bytes += size
        if self._bytes > MOST_BYTES // 2:
            self._older, self._recent, self._bytes = self._recent, {}, 0


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
        signature = None if self._is_async or tracing.watchers else signature_of(request)
        if signature is None:
            return self._get_response(request)
        asked_at, slots = time.time(), self._slots
        slot = slots.find(signature)
        # Other threads may change the slot meanwhile.
        confirmed = slot.confirmed if slot is not None else None
        if confirmed is not None:
            response = confirmed.answer(request, asked_at)
            if response is not None:
                return response
        with Watch().watching(request) as watch:
            response = self._get_response(request)
        made, served = repeatable(request, response, watch), watch.served
        if made is not None and served is not None:
            slots.note(signature, made, served)
        return response
