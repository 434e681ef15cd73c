"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.core.signals import request_started

from regions.errors import ConfigurationError


class OutboxConfig(AppConfig):
    name = "regions.django.outbox"
    label = "regions_outbox"
    verbose_name = "Regions: outbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from regions import transactions
        from regions.django.outbox.lookout import Lookout
        from regions.django.outbox.transactions import OutboxTransactions

        if not apps.is_installed("regions.django"):
            raise ConfigurationError(
                '"regions.django.outbox" needs "regions.django" in INSTALLED_APPS, too'
            )
        lookout = Lookout()
        transactions.install(OutboxTransactions(lookout))
        request_started.connect(lookout.at_request)
