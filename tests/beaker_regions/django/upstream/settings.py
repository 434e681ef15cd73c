"""Settings for a run of Django's own tests, in a separate process."""

import os
from pathlib import Path

FOLDER = Path(os.environ["UPSTREAM_FOLDER"])

SECRET_KEY = "of the tests"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.messages",
    "django.contrib.sessions",
    "tests.beaker_regions.django.upstream",
    "beaker_regions.django",
    # Django's.
    "cache",
    "sessions_tests",
]
DATABASES = {
    name: {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / name,
        "TEST": {"NAME": FOLDER / f"{name} of the tests"},
    }
    for name in ("default", "other")
}
CACHES = {
    "default": {
        "BACKEND": "beaker_regions.django.cache_backend.RegionCache",
        "LOCATION": "functions",
    },
}
SESSION_ENGINE = "beaker_regions.django.sessions"
