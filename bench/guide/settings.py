"""The guide's settings: Django's own cache with pylibmc."""

import os

STAGE = os.environ["BENCH_STAGE"]
STAGES = ("uncached", "query", "fragments", "page")

SECRET_KEY = "of the measurement alone"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "bench.guide",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    # The last stage keeps whole pages, and so cannot keep this.
    *(["django.middleware.csrf.CsrfViewMiddleware"] if STAGE != "page" else []),
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "bench.guide.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.memcached.PyLibMCCache",
        "LOCATION": os.environ["GUIDE_MEMCACHED"],
        "TIMEOUT": None,
        "OPTIONS": {"binary": False, "behaviors": {"ketama": True, "tcp_nodelay": True}},
    }
}
# The strongest form: sessions from memcached, too. Templates are compiled once, as Django does
# where DEBUG is off.
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["GUIDE_DATABASE"],
        "CONN_MAX_AGE": 600,
        "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
