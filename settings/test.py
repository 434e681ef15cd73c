"""Under pytest: as in development, with static files straight from the applications."""

from settings.base import DATABASES, STORAGES
from settings.development import *
from settings.development import INSTALLED_APPS

ALLOWED_HOSTS = ["localhost", "127.0.0.1", "testserver"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Models that declare the tags of their rows, in every form in which models come.
INSTALLED_APPS = [*INSTALLED_APPS, "tests.beaker_regions.django.models"]
STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# A file on SQLite too, as in use: one in memory has other locks, and no log to write ahead.
DATABASES["default"]["TEST"] = {
    "NAME": f"{DATABASES['default']['NAME']}_test",
    "CHARSET": "utf8mb4",  # of MySQL; others have one that takes all of Unicode anyway
}
