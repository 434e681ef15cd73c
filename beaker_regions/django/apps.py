"""The Django application: teaches the regions models and transactions."""

from __future__ import annotations

import os
from typing import Any

from django.apps import AppConfig, apps
from django.contrib.sessions.backends.base import SessionBase
from django.core.checks import register
from django.db import router
from django.db.migrations.serializer import FunctionTypeSerializer, Serializer
from django.db.models import Model
from django.http import HttpRequest
from django.utils.autoreload import file_changed
from django.utils.functional import LazyObject, Promise, empty

from beaker_regions.api.cached import Cached
from beaker_regions.django.checks import TAG, check_middleware, check_regions, check_sessions
from beaker_regions.django.models.declarations import registry
from beaker_regions.django.models.noting import note_queries
from beaker_regions.django.models.writes import watch_models
from beaker_regions.django.pages.fingerprint import forget_fingerprint
from beaker_regions.django.sessions import forget_changed_rows
from beaker_regions.django.test_cases import empty_regions_for_each_test
from beaker_regions.django.tracing import watch_calls
from beaker_regions.django.transactions import DatabaseTransactions
from beaker_regions.engine import invalidation
from beaker_regions.engine.reads import set_query_noter
from beaker_regions.entries import keys


def row_of(instance: Model) -> keys.Located:
    """Return which row an instance is: the one of a proxy model is its concrete model's. Raises
    ValueError for an instance that is not saved."""
    meta, key = instance._meta, instance.pk
    if key is None or (isinstance(key, tuple) and None in key):
        raise ValueError(f"this {meta.label} has no primary key: it is not saved, or was deleted")
    database = instance._state.db or router.db_for_write(type(instance), instance=instance)
    concrete = meta.concrete_model or type(instance)
    return keys.Located((concrete._meta.label, key), database)


def unwrapped(lazy: Any) -> Any:
    """Return the object that a lazy one, such as ``request.user``, stands for."""
    if lazy._wrapped is empty:
        lazy._setup()
    return lazy._wrapped


def teach_keys() -> None:
    """Let the arguments of cached functions be what Django's applications pass around."""
    keys.substitute(Model, row_of)
    keys.substitute(LazyObject, unwrapped)
    # A lazy text, such as of gettext_lazy(): what it is in the current language.
    keys.substitute(Promise, lambda lazy: lazy._proxy____cast())
    keys.refuse(
        HttpRequest,
        "one request is no other, and what is made of it may be its user's alone. To keep the "
        "pages of a view, decorate it with beaker_regions.django.pages.decorator.region_page; to "
        "keep what a function finds, pass it what it asks of the request, such as request.user.pk",
    )
    keys.refuse(
        SessionBase,
        "a session changes, and is its visitor's alone. Pass what the function asks of it",
    )
    if apps.is_installed("django.contrib.auth"):
        from django.contrib.auth.models import AnonymousUser

        keys.register(AnonymousUser, lambda _: ())


class RegionsConfig(AppConfig):
    name = "beaker_regions.django"
    label = "regions"
    verbose_name = "Regions"

    def ready(self) -> None:
        teach_keys()
        registry.on_change = watch_models
        registry.check()
        set_query_noter(note_queries)
        # Migrations refer to a default, or to choices, by name, as to any function.
        Serializer.register(Cached, FunctionTypeSerializer)
        if not isinstance(
            invalidation.transactions, DatabaseTransactions
        ):  # the outbox's, if it is first
            invalidation.set_transactions(DatabaseTransactions())
        file_changed.connect(forget_fingerprint)
        register(check_regions, TAG)
        register(check_sessions, TAG)
        register(check_middleware, TAG)
        forget_changed_rows()
        watch_calls()
        empty_regions_for_each_test()
        if os.environ.get("REGIONS_DEPENDENCIES"):
            from beaker_regions.django.models.report import switch_on_by_environment

            switch_on_by_environment()
