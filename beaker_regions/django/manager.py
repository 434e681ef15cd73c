"""The manager whose regions Django uses: templates, sessions and Django's cache API name them."""

from __future__ import annotations

from django.apps import apps

from beaker_regions.engine.region import Region
from beaker_regions.errors import ConfigurationError
from beaker_regions.manager import CacheManager

_manager: CacheManager | None = None


def use_manager(manager: CacheManager) -> None:
    """Let Django use the regions of ``manager``.

    Call it once, in the ``ready()`` of one of the project's applications::

        class ShopConfig(AppConfig):
            name = "shop"

            def ready(self):
                from beaker_regions.django import use_manager
                from beakercache import cache

                use_manager(cache)

    Args:
        manager: The project's manager. Templates, sessions and Django's cache API then find its
            regions by name.

    Raises:
        ConfigurationError: The application "beaker_regions.django" is not installed, or
            ``manager`` is something else.
    """
    if not apps.is_installed("beaker_regions.django"):
        raise ConfigurationError(
            'beaker_regions.django.use_manager() needs "beaker_regions.django" in INSTALLED_APPS'
        )
    if not isinstance(manager, CacheManager):
        raise ConfigurationError(
            f"use_manager() is given {manager!r}: give it a CacheManager of beaker_regions"
        )
    global _manager
    _manager = manager


def is_installed() -> bool:
    """Whether `use_manager` was called."""
    return _manager is not None


def region_named(name: str) -> Region:
    """Return a region of the manager that Django uses. Raises ConfigurationError."""
    if _manager is None:
        raise ConfigurationError(
            f"Django knows no region {name!r} yet: call beaker_regions.django.use_manager() with "
            f"your CacheManager in the ready() of an AppConfig"
        )
    return _manager[name]


def all_tagged() -> list[Region]:
    """Return the regions that an invalidation of tags concerns; none before `use_manager`."""
    return [] if _manager is None else [_manager[name] for name in _manager.options]
