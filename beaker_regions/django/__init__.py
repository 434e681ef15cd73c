"""Regions in a Django project. Add "beaker_regions.django" to INSTALLED_APPS."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beaker_regions.django.manager import use_manager
    from beaker_regions.django.models.declarations import declare_row_tags, row_tags
    from beaker_regions.django.models.invalidating import invalidate_model
    from beaker_regions.django.pages.decorator import region_page
    from beaker_regions.django.pages.placeholders import hole
    from beaker_regions.django.staff.scraping import scrape
    from beaker_regions.django.wsgi import get_wsgi_application

__all__ = [
    "declare_row_tags",
    "get_wsgi_application",
    "hole",
    "invalidate_model",
    "region_page",
    "row_tags",
    "scrape",
    "use_manager",
]

_MODULES = {
    "declare_row_tags": "models.declarations",
    "get_wsgi_application": "wsgi",
    "hole": "pages.placeholders",
    "invalidate_model": "models.invalidating",
    "region_page": "pages.decorator",
    "row_tags": "models.declarations",
    "scrape": "staff.scraping",
    "use_manager": "manager",
}


def __getattr__(name: str) -> Any:
    # Django imports this package before its models may be imported.
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
