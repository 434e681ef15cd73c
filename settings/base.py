"""What holds wherever the project runs. What differs comes from the environment."""

import os
from pathlib import Path

from settings.databases import database

BASE_DIR = Path(__file__).parent.parent
VAR = BASE_DIR / "var"
VAR.mkdir(0o770, exist_ok=True)  # others have no business there; the umask says who has

DEBUG = os.environ.get("DEBUG", "").strip().lower() in {"1", "true", "yes", "on"}

INSTALLED_APPS = [
    "tasks",
    "beaker_regions.django",
    "beaker_regions.django.outbox",
    "beaker_regions.django.staff",  # before the admin, whose header it links from
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "project.headers.SecurityHeaders",
    "whitenoise.middleware.WhiteNoiseMiddleware",
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
# Rows of the database, kept in a region.
SESSION_ENGINE = "beaker_regions.django.sessions"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "tasks:list"

# What pages may load, and where from: this site alone, and nothing that stands in the page itself.
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
# What no page, nor what it loads, ever asks a browser for.
PERMISSIONS_POLICY = ["camera", "display-capture", "geolocation", "microphone", "payment", "usb"]
# Scripts take the token from the forms.
CSRF_COOKIE_HTTPONLY = True
# Of one request. Forms are small, and nobody uploads: a file would be written to disk as it comes.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024  # bytes
DATA_UPLOAD_MAX_NUMBER_FILES = 0
# Whether a web server in front adds the address of who asks to X-Forwarded-For, as its last.
BEHIND_PROXY = False

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = Path(os.environ.get("STATIC_ROOT") or VAR / "static")
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise wants it before anything is collected
STORAGES = {
    # Names that carry a hash of their content, so that browsers may keep the files for good.
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

METRICS_TOKEN = os.environ.get("METRICS_TOKEN", "")
"""What Prometheus sends to read /metrics, as a bearer token. Empty: only the staff may."""

X_ACCEL_REDIRECT = os.environ.get("X_ACCEL_REDIRECT", "")
"""The location, such as /protected/, at which nginx has the folder of the files region for itself
(``internal``), and sends what is in it. Empty: this server sends it."""

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
