"""Django's system checks: a region that cannot do its work is reported at start.

Servers are not asked: a deployment does not fail because a memcached starts later than it does.
``manage.py regions check`` asks them.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.sessions.backends import cache as sessions_in_cache
from django.core.cache import caches
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004

from beaker_regions.config.options import ATOMIC_TYPES_TEXT
from beaker_regions.django import sessions
from beaker_regions.django.manager import region_named
from beaker_regions.engine.region import all_regions
from beaker_regions.entries.freshness import QUERIES
from beaker_regions.errors import ConfigurationError
from beaker_regions.reports import health

TAG = "regions"
BACKEND = "beaker_regions.django.cache_backend.RegionCache"
REPEATED = "beaker_regions.django.middleware.RepeatedRequests"
QUERY_CACHES = ("cachalot", "cacheops")
"""Applications that answer queries without asking the database."""


def check_regions(**_: Any) -> list[CheckMessage]:
    """Return what is wrong with the regions of this process."""
    found = list(_check_aliases())
    for region in all_regions():
        for finding in health.check_here(region):
            if finding.level == "ok":
                continue
            message = f"Region {finding.region!r}: {finding.subject}: {finding.message}"
            # In development one process is often all there is.
            is_error = finding.level == "error" and not (
                finding.subject == "secret" and settings.DEBUG
            )
            if is_error:
                found.append(Error(message, id="regions.E001"))
            else:
                found.append(Warning(message, id="regions.W001"))
    return [*found, *_requests(), *_other_caches()]


def check_sessions(**_: Any) -> list[CheckMessage]:
    """Return why sessions cannot be kept where the settings say."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if issubclass(store, sessions.SessionStore):
        try:
            region_named(store.region)
        except ConfigurationError as error:
            return [Error(f"Sessions are kept in a region: {error}", id="regions.E002")]
    if not issubclass(store, sessions_in_cache.SessionStore):
        return []
    alias = settings.SESSION_CACHE_ALIAS
    if settings.CACHES[alias].get("BACKEND") != BACKEND:
        return []
    try:
        caches.create_connection(alias)
    except ConfigurationError as error:
        hint = (
            f"Give the region the type {ATOMIC_TYPES_TEXT}, or set SESSION_ENGINE to "
            f"'beaker_regions.django.sessions', which keeps sessions in the database too"
        )
        return [Error(f"Sessions in CACHES[{alias!r}]: {error}", hint, id="regions.E003")]
    return []


def check_middleware(**_: Any) -> list[CheckMessage]:
    """Say whether middleware that should not run for a repeated request stands too high."""
    names = list(settings.MIDDLEWARE)
    if REPEATED not in names:
        return []
    above = names[: names.index(REPEATED)]
    return [
        Warning(
            f"{name} stands above {REPEATED} in MIDDLEWARE, and so runs for every request.",
            hint="Put RepeatedRequests above it; only what has to see every request is above.",
            id="regions.W003",
        )
        for name in above
        if name.startswith("django.contrib.sessions.")
    ]


def _check_aliases() -> Iterator[CheckMessage]:
    """Report regions that cannot be what CACHES says."""
    for alias, configured in getattr(settings, "CACHES", {}).items():
        if configured.get("BACKEND") == BACKEND:
            try:
                caches.create_connection(alias)
            except ConfigurationError as error:
                yield Error(f"CACHES[{alias!r}]: {error}", id="regions.E004")


def _requests() -> list[CheckMessage]:
    """Report databases on which every request is a transaction: functions store nothing there."""
    return [
        Warning(
            f"ATOMIC_REQUESTS of database {alias!r} puts every view into a transaction, and "
            f"what cached functions and fragments load in one is not stored. Pages without "
            f"fragments are stored, if region_page is around the view in the URLconf.",
            hint="Set it to False and use atomic() where something is written, or decorate views "
            "that only read with django.db.transaction.non_atomic_requests.",
            id="regions.W002",
        )
        for alias, options in settings.DATABASES.items()
        if options.get("ATOMIC_REQUESTS") and all_regions()
    ]


def _other_caches() -> list[CheckMessage]:
    """Report a function whose queries another cache may answer: they are not noted."""
    functions = sorted(
        name
        for region in all_regions()
        for name, policy in region.policies.items()
        if policy.depends_on == QUERIES
    )
    return [
        Warning(
            f'{functions[0]} has depends_on="queries", which does not see a query that {each} '
            f"answers. A value may then stay stale.",
            hint=f"Take the tables that such functions read out of {each}. Then name this warning "
            f"in SILENCED_SYSTEM_CHECKS.",
            id="regions.W004",
        )
        for each in QUERY_CACHES
        if functions and apps.is_installed(each)
    ]
