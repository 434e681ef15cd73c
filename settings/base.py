"""The settings that development, production and tests share. The environment changes some."""

import os
from pathlib import Path

from settings.databases import database

BASE_DIR = Path(__file__).parent.parent
VAR = BASE_DIR / "var"
VAR.mkdir(0o770, exist_ok=True)  # not for other users; the umask may also exclude the group

DEBUG = os.environ.get("DEBUG", "").strip().lower() in {"1", "true", "yes", "on"}

INSTALLED_APPS = [
    "tasks",
    "beaker_regions.django",
    "beaker_regions.django.outbox",
    "beaker_regions.django.staff",  # before the admin, to put a link into its header
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "beaker_regions.django.middleware.RepeatedRequests",
    "django.middleware.security.SecurityMiddleware",
    "project.headers.SecurityHeaders",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "project.compression.CompressedPages",
    "tasks.bypass.Bypass",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
CSRF_FAILURE_VIEW = "tasks.views.errors.csrf_failure"

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

DATABASES = {
    "default": database(os.environ.get("DATABASE_URL") or f"sqlite:///{VAR / 'db.sqlite3'}")
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
# Rows of the database, stored in a region for reading.
SESSION_ENGINE = "beaker_regions.django.sessions"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "tasks:list"

# Pages load only from this site, and have no inline scripts or styles.
SECURE_CSP = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'"],
    "font-src": ["'self'"],
    "connect-src": ["'self'"],
    "manifest-src": ["'self'"],
    "form-action": ["'self'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
}
# Browser features that no page of the site uses.
PERMISSIONS_POLICY = ["camera", "display-capture", "geolocation", "microphone", "payment", "usb"]
# Scripts take the token from the forms.
CSRF_COOKIE_HTTPONLY = True
# Limits of one request. Forms are small. There are no uploads, which would be written to disk.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024  # bytes
DATA_UPLOAD_MAX_NUMBER_FILES = 0
# Whether a web server in front adds the client's address at the end of X-Forwarded-For.
BEHIND_PROXY = False

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = Path(os.environ.get("STATIC_ROOT") or VAR / "static")
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise wants it before anything is collected
STORAGES = {
    # Names contain a hash of the content, so that browsers may keep the files forever.
    "staticfiles": {"BACKEND": "tasks.scripts.BundlingStorage"},
}

DELETED_TASKS_DAYS = 30
"""Days for which deleted tasks can be brought back. Then `manage.py purge_tasks`, or the next
deletion in the same list, removes them for good."""

METRICS_TOKEN = os.environ.get("METRICS_TOKEN", "")
"""The bearer token with which Prometheus reads /metrics. Empty: only the staff can."""

X_ACCEL_REDIRECT = os.environ.get("X_ACCEL_REDIRECT", "")
"""The ``internal`` location of nginx, such as /protected/, from which it sends files of the files
region. Empty: this server sends them."""

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
