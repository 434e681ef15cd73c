"""The table."""

from django.db import models


class Owed(models.Model):
    """An invalidation that was committed and, as far as the database knows, not delivered."""

    region = models.CharField(max_length=255)
    scopes = models.TextField()
    """Separated by spaces (`regions.store`)."""
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return f"{self.region}: {self.scopes}"
