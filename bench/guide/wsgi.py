"""The guide's application."""

import os

from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "bench.guide.settings"
application = get_wsgi_application()
