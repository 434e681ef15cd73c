"""The table."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.functions import Now


class DatabaseNow(Now):
    """The time by the database's clock: hosts' clocks may be minutes apart. In UTC, as Django
    stores times in columns without a time zone."""

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # Now() is the session's local time there.
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **context)


class PendingInvalidation(models.Model):
    """A committed invalidation that the stores have not applied yet, as far as the database
    knows."""

    region = models.CharField(max_length=255)
    scopes = models.TextField()
    """Separated by spaces (`beaker_regions.engine.store`)."""
    owner = models.CharField(max_length=80, blank=True, db_default="", default="")
    """The owner of the store (`beaker_regions.engine.store.Store.owner`). Empty in rows of former
    releases: every process that has a region of that name applies them."""
    created_at = models.DateTimeField(db_default=DatabaseNow(), db_index=True)

    class Meta:
        # The name from former releases, whose processes use the table during an upgrade.
        db_table = "regions_outbox_owed"

    def __str__(self) -> str:
        return f"{self.region}: {self.scopes}"
