"""The Django application: teaches the regions models and transactions."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register
from django.db.models import Model
from django.utils.autoreload import file_changed

from regions import keys, transactions
from regions.django.acting import name_program
from regions.django.checks import TAG, check_regions
from regions.django.release import forget_release
from regions.django.sessions import forget_changed_rows
from regions.django.tracing import watch_calls
from regions.django.transactions import DatabaseTransactions


def model_key(instance: Model) -> tuple[str, object]:
    """Key a model instance by label and primary key. Raises ValueError for an unsaved one."""
    if instance.pk is None:
        raise ValueError(f"this {instance._meta.label} has no primary key: it is not saved")
    return instance._meta.label, instance.pk


class RegionsConfig(AppConfig):
    name = "regions.django"
    label = "regions"
    verbose_name = "Regions"

    def ready(self) -> None:
        keys.register(Model, model_key)
        transactions.install(DatabaseTransactions())
        file_changed.connect(forget_release)
        register(check_regions, TAG)
        forget_changed_rows()
        name_program()
        watch_calls()
