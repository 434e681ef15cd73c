"""The settings of production: behind TLS, configured by the environment."""

import os

from django.core.exceptions import ImproperlyConfigured

from beaker_regions import other_secret_keys
from settings.base import *

REQUIRED = {
    "SECRET_KEY": "a long random text that only the servers have",
    "ALLOWED_HOSTS": "the site's host names, separated by commas",
    "DATABASE_URL": "such as mysql://user:password@host:3306/tasks",
}
if missing := [name for name in REQUIRED if not os.environ.get(name)]:
    raise ImproperlyConfigured(
        "settings.production needs these environment variables: "
        + "; ".join(f"{name} ({REQUIRED[name]})" for name in missing)
    )

DEBUG = False
SECRET_KEY = os.environ["SECRET_KEY"]
SECRET_KEY_FALLBACKS = other_secret_keys()
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")

SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
# With this prefix browsers accept cookies only from this host and over TLS, not from a subdomain.
SESSION_COOKIE_NAME = "__Host-sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken"
MESSAGE_STORAGE = "project.messages.HostMessages"
SECURE_SSL_REDIRECT = True
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
# The web server in front ends TLS. It must set these headers, not pass on the client's:
# X-Forwarded-Proto to the scheme, and X-Forwarded-For so that it ends with the client's address.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
BEHIND_PROXY = True
