"""Code that outlives a request, a page or a call is no longer part of it."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.template import Context, engines

from beaker_regions.django.pages.dependencies import current_recorder, recording
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
        assert current_recorder() is used
    recorded = len(used.dependencies), used.has_unknown
    assert recorded != (0, False)
    assert context.run(current_recorder) is None
    context.run(template.template.render, Context({"key": uuid4().hex}))
    assert (len(used.dependencies), used.has_unknown) == recorded
