"""Headers of every response that tell browsers what no page of the site does."""

from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin


class SecurityHeaders(MiddlewareMixin):
    """Adds what Django 5.2 has no middleware for: ``SECURE_CSP``, written as Django 6 does
    (https://docs.djangoproject.com/en/6.0/ref/csp/), and ``PERMISSIONS_POLICY``.

    What a view has set stays as it is.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        policy = [f"{name} {' '.join(sources)}" for name, sources in settings.SECURE_CSP.items()]
        self._headers = {
            "Content-Security-Policy": "; ".join(policy),
            "Permissions-Policy": ", ".join(f"{name}=()" for name in settings.PERMISSIONS_POLICY),
            "Cross-Origin-Resource-Policy": "same-origin",
        }

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if response.status_code == HTTPStatus.NOT_MODIFIED:
            # Whose headers replace those that the browser keeps with the content: a view's own.
            return response
        for name, value in self._headers.items():
            response.headers.setdefault(name, value)
        if settings.DEBUG and response.status_code in {404, 500}:
            # Django's pages for developers carry their style and scripts in them.
            del response.headers["Content-Security-Policy"]
        return response
