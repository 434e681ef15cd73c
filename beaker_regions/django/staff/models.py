"""The permission to invalidate. A permission needs a model; this one has no table."""

from __future__ import annotations

from django.db import models

INVALIDATE = "regions_staff.invalidate"


class Regions(models.Model):
    """All regions."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = (("invalidate", "Can invalidate what the regions hold"),)
        verbose_name_plural = "regions"
