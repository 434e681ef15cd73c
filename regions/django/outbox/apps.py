"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.signals import request_started


class OutboxConfig(AppConfig):
    name = "regions.django.outbox"
    label = "regions_outbox"
    verbose_name = "Regions: outbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from regions import transactions
        from regions.django.outbox.lookout import Lookout
        from regions.django.outbox.transactions import OutboxTransactions

        lookout = Lookout()
        transactions.install(OutboxTransactions(lookout))
        request_started.connect(lookout.at_request)
