"""The models of the tables that a query reads."""

from __future__ import annotations

import functools
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models import Model

from beaker_regions.django.models import sql_tables
from beaker_regions.django.models.sql_tables import table_name, tables_read

Models = tuple[type[Model], ...]

LIBRARY = "beaker_regions."
"""How the names of this library's modules begin."""
_ACCEPTED = ("contenttypes.ContentType",)
"""Models whose rows Django itself keeps in every process, and never reads again."""


def models_read(sql: str, context: dict[str, Any]) -> dict[str, Models]:
    """Return the tables that a query reads, each with its models; none for a table that belongs to
    no model. ``context`` is that of an execute wrapper of Django."""
    names = tables_read(sql, is_mysql=context["connection"].vendor == "mysql")
    known = _models(apps.ready)
    return {name: known.get(name, ()) for name in names}


def is_understood(sql: str, context: dict[str, Any]) -> bool:
    """Whether `models_read` finds all tables that such a statement reads."""
    return sql_tables.is_understood(sql, is_mysql=context["connection"].vendor == "mysql")


def may_be_unwatched(models: Models) -> bool:
    """Whether a table may be read though no write to it invalidates anything."""
    accepted = {*_ACCEPTED, *getattr(settings, "REGIONS_UNWATCHED", ())}
    return any(model._meta.label in accepted for model in models)


@functools.lru_cache(maxsize=1)
def _models(are_loaded: bool) -> dict[str, Models]:
    """Return the models of every table."""
    found: dict[str, Models] = {}
    for model in apps.get_models(include_auto_created=True) if are_loaded else ():
        if not model._meta.proxy:
            name = table_name(model._meta.db_table)
            found[name] = (*found.get(name, ()), model)
    return found


def forget_models() -> None:
    """Look for the models again."""
    _models.cache_clear()
