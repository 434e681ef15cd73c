"""Listeners to calls: a log, the headers of a page, spans."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from beaker_regions import CacheManager
from beaker_regions.django.tracing import watch_calls
from beaker_regions.telemetry import opentelemetry, tracing
from tests.beaker_regions.conftest import Calls, Manager

if TYPE_CHECKING:
    from collections.abc import Callable


ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "watchers", ())


@pytest.fixture
def cache(memcached_manager: Manager, tmp_path: Path) -> CacheManager:
    return memcached_manager(expire=3600, data_dir=tmp_path)


# -- the log ---------------------------------------------------------------------------------


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[Any]]:
    caplog.set_level(logging.DEBUG, "beaker_regions.calls")
    watch_calls()
    return lambda: [each for each in caplog.records if each.name == "beaker_regions.calls"]


def test_calls_are_logged_with_their_outcome(
    cache: CacheManager, calls: Calls, logged: Callable[[], list[Any]]
) -> None:
    @cache.region("functions")
    def double(number: int) -> int:
        if number < 0:
            raise ValueError(number)
        return 2 * number

    double(1)
    double(1)
    double.refresh(1)
    double.many([1, 2, 3])
    with pytest.raises(ValueError, match="-1"):
        double(-1)
    outcomes_logged = [(record.region, record.function, record.outcome) for record in logged()]
    outcomes = ["miss", "hit", "refresh", "1 hit, 2 miss", "error"]
    assert outcomes_logged == [("functions", double.name, outcome) for outcome in outcomes]
    assert all(record.milliseconds >= 0 for record in logged())
    assert logged()[0].getMessage().startswith(f"functions: {double.name}: miss in ")


def test_calls_of_coroutine_functions_are_logged(
    cache: CacheManager, logged: Callable[[], list[Any]]
) -> None:
    @cache.region("functions")
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    async def several() -> None:
        await asyncio.gather(double(1), double(2))
        await double.many([1, 2])
        await double.refresh(1)

    asyncio.run(several())
    assert [each.outcome for each in logged()] == ["miss", "miss", "2 hit", "refresh"]


def test_a_stale_value_is_distinguished_from_a_fresh_one(
    memcached_manager: Manager, calls: Calls, logged: Callable[[], list[Any]]
) -> None:
    cache = memcached_manager(expire=0.01, grace=3600)

    @cache.region("functions")
    def flaky() -> int:
        if calls() > 1:
            raise OSError
        return 1

    assert flaky() == 1
    time.sleep(0.02)
    assert flaky() == 1
    assert logged()[-1].outcome == "stale"


def test_nothing_is_logged_without_a_listener(
    cache: CacheManager, caplog: pytest.LogCaptureFixture
) -> None:
    @cache.region("functions")
    def double(number: int) -> int:
        return 2 * number

    watch_calls()
    double(1)
    assert not [each for each in caplog.records if each.name == "beaker_regions.calls"]
    assert tracing.watchers == ()


def test_the_work_of_a_load_with_other_caches_is_not_part_of_the_call(cache: CacheManager) -> None:
    carts = cache.values("functions", "carts")

    @cache.region("functions")
    def cart_of(owner: int) -> Any:
        return carts.get(owner, ()), carts.get(-owner, ())

    with tracing.collecting() as collected:
        cart_of(1)
    (call,) = collected.calls
    assert (call.outcome, call.hits, call.misses) == ("miss", 0, 1)


# -- Server-Timing ---------------------------------------------------------------------------


class Site:
    """Views at their paths, with the middleware of the project."""

    def __init__(self, settings: Any) -> None:
        self.urls: list[Any] = []
        module = ModuleType("urls_of_the_tests")
        module.urlpatterns = self.urls  # type: ignore[attr-defined]
        settings.ROOT_URLCONF = module

    def add(self, route: str, view: Callable[..., Any]) -> None:
        self.urls.append(path(route, view))


@pytest.fixture
def site(settings: Any, transactional_db: None) -> Site:
    return Site(settings)


def test_a_page_reports_the_times_of_its_calls(
    site: Site, settings: Any, cache: CacheManager
) -> None:
    settings.DEBUG = True

    @cache.region("functions")
    def inner(number: int) -> int:
        return number

    @cache.region("functions")
    def outer(number: int) -> int:
        return inner(number)

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(outer(1)))

    async def aview(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(await asyncio.to_thread(outer, 1)))

    site.add("page/", view)
    site.add("apage/", aview)
    first = Client().get("/page/").headers["Server-Timing"]
    assert first.startswith("regions;dur=")
    assert 'desc="0 hits, 2 misses, ' in first
    assert 'desc="1 hit, 0 misses, 1 round trip"' in Client().get("/page/").headers["Server-Timing"]
    answer = asyncio.run(AsyncClient().get("/apage/"))
    assert 'desc="1 hit, 0 misses, 1 round trip"' in answer.headers["Server-Timing"]
    settings.DEBUG = False
    assert "Server-Timing" not in Client().get("/page/").headers


# -- spans -----------------------------------------------------------------------------------


@pytest.fixture
def exported() -> InMemorySpanExporter:
    """The spans that OpenTelemetry gets. A process has one provider, which cannot be replaced."""
    if not opentelemetry.is_configured():
        trace.set_tracer_provider(TracerProvider())
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


def test_calls_are_spans_within_those_that_load_them(
    cache: CacheManager, exported: InMemorySpanExporter
) -> None:
    watch_calls()

    @cache.region("functions")
    def inner(number: int) -> int:
        if number < 0:
            raise ValueError(number)
        return number

    @cache.region("functions")
    def outer(number: int) -> int:
        return inner(number)

    with trace.get_tracer("tests").start_as_current_span("request"):
        outer(1)
        outer(1)
    with pytest.raises(ValueError, match="-1"):
        inner(-1)
    nested, loaded, hit, request, failed = exported.get_finished_spans()
    assert nested.parent == loaded.get_span_context()
    assert loaded.parent == hit.parent == request.get_span_context()
    assert dict(hit.attributes or {}) == {
        "regions.region": "functions",
        "regions.function": outer.name,
        "regions.outcome": "hit",
        "regions.round_trips": 1,
    }
    assert loaded.attributes
    assert loaded.attributes["regions.outcome"] == "miss"
    assert (nested.name, failed.name) == (inner.name, inner.name)
    assert not failed.status.is_ok
    assert failed.events[0].name == "exception"
