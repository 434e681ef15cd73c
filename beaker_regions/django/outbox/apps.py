"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.core.signals import request_started

from beaker_regions.errors import ConfigurationError


class OutboxConfig(AppConfig):
    name = "beaker_regions.django.outbox"
    label = "regions_outbox"
    verbose_name = "Regions: outbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from beaker_regions.django.outbox.poller import OutboxPoller
        from beaker_regions.django.outbox.transactions import OutboxTransactions
        from beaker_regions.engine import invalidation

        if not apps.is_installed("beaker_regions.django"):
            raise ConfigurationError(
                '"beaker_regions.django.outbox" needs "beaker_regions.django" in INSTALLED_APPS, '
                "too"
            )
        poller = OutboxPoller()
        invalidation.set_transactions(OutboxTransactions(poller))
        request_started.connect(poller.at_request)
