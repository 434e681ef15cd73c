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
        from regions.django.outbox.delivery import DeliveryNowAndThen, OutboxTransactions

        transactions.install(OutboxTransactions())
        # Strongly: nobody else holds it.
        request_started.connect(DeliveryNowAndThen(), weak=False)
