"""The WSGI application."""

import os
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from beaker_regions.django import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.production")
_django = get_wsgi_application()


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a request. Drop the body that Django gives a HEAD, since gunicorn warns of it."""
    response = _django(environ, start_response)
    if environ["REQUEST_METHOD"] != "HEAD":
        return response
    close = getattr(response, "close", None)
    if close is not None:
        close()
    return ()
