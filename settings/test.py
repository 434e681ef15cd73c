"""The settings of tests: those of development, with static files read from the applications."""

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
# On SQLite a file too, as in use: a database in memory has other locks and no write-ahead log.
DATABASES["default"]["TEST"] = {
    "NAME": f"{DATABASES['default']['NAME']}_test",
    "CHARSET": "utf8mb4",  # for MySQL; the others store all of Unicode anyway
}
