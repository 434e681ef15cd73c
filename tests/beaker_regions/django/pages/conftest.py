"""A small site for the tests: each test makes its views and templates."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from django.http import HttpResponse
from django.template import engines
from django.test import Client
from django.urls import path

from beaker_regions.django import manager, region_page
from tests.beaker_regions.conftest import Calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.http import HttpRequest

    from beaker_regions import CacheManager


class Site:
    """Views at their paths; their pages are all in one region."""

    def __init__(self, cache: CacheManager, templates: dict[str, str]) -> None:
        self.cache = cache
        self.templates = templates
        self.urlconf = ModuleType("urls_of_the_tests")
        self.urlconf.urlpatterns = []  # type: ignore[attr-defined]
        self.renders = Calls()

    def add(
        self, view: Callable[..., Any], route: str = "page/", kwargs: dict[str, Any] | None = None
    ) -> None:
        """Publish a view."""
        self.urlconf.urlpatterns.append(path(route, view, kwargs))

    def page(self, view: Callable[..., Any], route: str = "page/", **options: Any) -> None:
        """Publish a view whose pages are stored."""
        self.add(region_page(self.cache["functions"], **options)(view), route)

    def render(self, request: HttpRequest, source: str, **context: Any) -> HttpResponse:
        """Render a template from a string; ``{{ renders }}`` counts the renderings."""
        template = engines["django"].from_string("{% load regions %}" + source)
        return HttpResponse(template.render({"renders": self.renders(), **context}, request))

    def show(self, source: str, route: str = "page/", **options: Any) -> None:
        """Publish a template as a page that is stored."""

        def view(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            return self.render(request, source, **kwargs)

        self.page(view, route, **options)


@pytest.fixture
def site(transactional_db: None, cache: CacheManager, settings: Any) -> Iterator[Site]:
    templates: dict[str, str] = {}
    site = Site(cache, templates)
    settings.ROOT_URLCONF = site.urlconf
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.CSRF_FAILURE_VIEW = "django.views.csrf.csrf_failure"
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
    processors = settings.TEMPLATES[0]["OPTIONS"]["context_processors"]
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "context_processors": processors,
                "loaders": [("django.template.loaders.locmem.Loader", templates)],
            },
        }
    ]
    before = manager._manager
    manager.use_manager(cache)
    yield site
    manager._manager = before


@pytest.fixture
def browser() -> Client:
    return Client(enforce_csrf_checks=True)


@pytest.fixture
def other_browser() -> Client:
    return Client(enforce_csrf_checks=True)
