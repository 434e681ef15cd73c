"""On one machine, with nothing to configure: what `make run` uses."""

import importlib.util
import os

from beaker_regions import secret_key
from settings.base import *
from settings.base import INSTALLED_APPS, MIDDLEWARE, VAR

SECRET_KEY = secret_key(VAR / "secret_key")
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")

# DEBUG=1 DEBUG_TOOLBAR=1 show django-debug-toolbar, where it is installed, with what a page did.
if os.environ.get("DEBUG_TOOLBAR") == "1" and importlib.util.find_spec("debug_toolbar"):
    INSTALLED_APPS = [*INSTALLED_APPS, "debug_toolbar"]
    MIDDLEWARE = ["debug_toolbar.middleware.DebugToolbarMiddleware", *MIDDLEWARE]
    INTERNAL_IPS = ["127.0.0.1", "::1"]
    # In the page itself: of several processes, each knows of its own requests alone.
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

# What a page's calls took, in a header that browsers show; where DEBUG is on.
MIDDLEWARE = ["beaker_regions.django.tracing.ServerTiming", *MIDDLEWARE]
