"""The application."""

import os

from beaker_regions.django import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "bench.served.settings"
application = get_wsgi_application()

if os.environ["BENCH_STAGE"] == "uncached":
    from beakercache import cache

    for region in cache.options:
        cache[region].enabled = False
