"""What was begun within a request, a page or a call, and outlives it, is no part of it."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.template import Context, engines

from beaker_regions.django.pages.dependencies import recorder, recording
from beaker_regions.django.pages.prefetch import Prefetch, call, remembering
from beaker_regions.telemetry import tracing

if TYPE_CHECKING:
    from beaker_regions import CacheManager
    from tests.beaker_regions.conftest import Calls


def test_calls_after_a_block_are_not_collected_in_it(
    cache: CacheManager, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "watchers", ())
    contexts: list[contextvars.Context] = []

    @cache.region("functions")
    def inner() -> int:
        return calls()

    @cache.region("functions")
    def outer() -> int:
        contexts.append(contextvars.copy_context())
        return inner()

    with tracing.collecting() as collected:
        outer()
    made = [(each.function, each.depth) for each in collected.calls]
    round_trips = collected.round_trips, [each.round_trips for each in collected.calls]
    assert made == [(outer.name, 0), (inner.name, 1)]

    def later() -> tracing.Collected:
        with tracing.collecting() as afterwards:
            inner.invalidate()
            inner()
        return afterwards

    afterwards = contexts[0].run(later)
    assert [(each.function, each.depth) for each in collected.calls] == made
    assert (collected.round_trips, [each.round_trips for each in collected.calls]) == round_trips
    assert [(each.function, each.depth) for each in afterwards.calls] == [(inner.name, 0)]


@pytest.mark.django_db
def test_a_fragment_after_a_page_is_not_in_it() -> None:
    source = "{% load regions %}{% region 'functions' key %}text{% endregion %}"
    template: Any = engines["django"].from_string(source)
    with recording() as used:
        template.template.render(Context({"key": uuid4().hex}))
        context = contextvars.copy_context()
        assert recorder() is used
    needed = len(used.needs), used.unknown
    assert needed != (0, False)
    assert context.run(recorder) is None
    context.run(template.template.render, Context({"key": uuid4().hex}))
    assert (len(used.needs), used.unknown) == needed


def test_what_is_looked_up_ahead_is_for_the_request_alone(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    def load(number: int) -> int:
        return calls()

    shown = remembering()("session", "/")
    shown.entries = (load.entry(2),)
    load(1), load(2)
    ahead = Prefetch(cache["functions"], shown)
    with ahead.looking():
        assert call(load, 1) == 1
        context = contextvars.copy_context()
    seen = ahead.reading(load.entry(2))
    assert seen is not None
    context.run(call, load, 1)
    assert ahead.reading(load.entry(2)) is seen
