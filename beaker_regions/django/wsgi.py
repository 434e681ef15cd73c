"""The WSGI application of a project that repeats answers.

`beaker_regions.django.middleware.RepeatedRequests` answers before all other middleware. With this
application it answers before Django's handler, too, which takes longer than such an answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import django
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest, get_script_name
from django.urls import set_script_prefix

from beaker_regions.runtime.interruptions import is_interruption

if TYPE_CHECKING:
    from beaker_regions.django.middleware import RepeatedRequests
    from beaker_regions.django.pages.repeats import Answer


def get_wsgi_application() -> WSGIApplication:
    """Return the WSGI application: as Django's function of this name, but a request that
    `RepeatedRequests` can answer does not get to Django's handler.

    `RepeatedRequests` has to be the first of MIDDLEWARE. If it is not, this is Django's handler.
    The signals ``request_started`` and ``request_finished`` are sent by Django's handler, and so
    they are not sent for such a request.

    Returns:
        The application, for gunicorn, uWSGI, mod_wsgi or ``manage.py runserver``.

    Example:
        In ``wsgi.py``::

            os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
            application = get_wsgi_application()
    """
    django.setup(set_prefix=False)
    # Not before Django is set up.
    from beaker_regions.django.middleware import RepeatedRequests

    handler = WSGIHandler()
    # Django puts each middleware into a function that makes responses of exceptions.
    chain = getattr(handler, "_middleware_chain", None)
    first = getattr(chain, "__wrapped__", None)
    if not isinstance(first, RepeatedRequests):
        return handler

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = _answer(first, environ)
        if answer is None:
            return handler(environ, start_response)
        start_response(answer.status_line, answer.headers)
        return (answer.content,)

    return application


def _answer(repeated: RepeatedRequests, environ: WSGIEnvironment) -> Answer | None:
    def bare() -> WSGIRequest:
        set_script_prefix(get_script_name(environ))
        return WSGIRequest({**environ})

    try:
        return repeated.answer_before_django(environ, bare)
    except Exception as error:
        if is_interruption(error):
            raise
        # The middleware meets the same error, and Django makes a response of it.
        return None
