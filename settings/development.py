"""The settings of `make run`: one machine, nothing to configure."""

import importlib.util
import os

from beaker_regions import secret_key
from settings.base import *
from settings.base import INSTALLED_APPS, MIDDLEWARE, VAR

SECRET_KEY = secret_key(VAR / "secret_key")
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")

# DEBUG=1 DEBUG_TOOLBAR=1 show django-debug-toolbar, if it is installed.
if os.environ.get("DEBUG_TOOLBAR") == "1" and importlib.util.find_spec("debug_toolbar"):
    INSTALLED_APPS = [*INSTALLED_APPS, "debug_toolbar"]
    # Within the compression: the toolbar is written into a page that is not compressed yet.
    within = MIDDLEWARE.index("project.compression.CompressedPages") + 1
    MIDDLEWARE = [
        *MIDDLEWARE[:within],
        "debug_toolbar.middleware.DebugToolbarMiddleware",
        *MIDDLEWARE[within:],
    ]
    INTERNAL_IPS = ["127.0.0.1", "::1"]
    # Panels are in the page itself, since each process knows only its own requests.
    DEBUG_TOOLBAR_CONFIG = {"RENDER_PANELS": True}
    DEBUG_TOOLBAR_PANELS = [
        "beaker_regions.django.toolbar.RegionsPanel",
        *(
            f"debug_toolbar.panels.{name}"
            for name in (
                "timer.TimerPanel",
                "headers.HeadersPanel",
                "request.RequestPanel",
                "sql.SQLPanel",
                "templates.TemplatesPanel",
            )
        ),
    ]

# With DEBUG, a header that browsers show has the duration of a page's calls.
MIDDLEWARE = ["beaker_regions.django.tracing.ServerTiming", *MIDDLEWARE]
