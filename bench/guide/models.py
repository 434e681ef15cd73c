"""The guide's one table."""

from typing import Any, ClassVar

from django.db import models


class Task(models.Model):
    """A thing to do."""

    objects: ClassVar[models.Manager[Any]] = models.Manager()
    name = models.CharField(max_length=255)
