"""The table."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.functions import Now


class DatabaseNow(Now):
    """The time by the database's clock: hosts' own may be minutes apart. In UTC, as Django stores
    times where columns have no time zone."""

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # Now() is the session's local time there.
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **context)


class Owed(models.Model):
    """An invalidation that was committed and, as far as the database knows, not delivered."""

    region = models.CharField(max_length=255)
    scopes = models.TextField()
    """Separated by spaces (`beaker_regions.engine.store`)."""
    owner = models.CharField(max_length=80, blank=True, db_default="", default="")
    """Whose store it is for (`beaker_regions.engine.store.Store.owner`). Empty, from former
    releases: of whoever has a region of that name."""
    created_at = models.DateTimeField(db_default=DatabaseNow(), db_index=True)

    def __str__(self) -> str:
        return f"{self.region}: {self.scopes}"
