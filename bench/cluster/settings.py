"""Django's settings of an application process of the cluster."""

import os

from settings.databases import database

SECRET_KEY = "of the cluster on one machine"
INSTALLED_APPS = ["beaker_regions.django", "beaker_regions.django.outbox"]
DATABASES = {"default": database(os.environ["DATABASE_URL"])}
# A database that does not answer is an error in seconds, not in the quarter of an hour for which
# TCP tries.
DATABASES["default"]["OPTIONS"] |= {"connect_timeout": 1, "read_timeout": 2, "write_timeout": 2}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
