"""Headers of every response that tell browsers to forbid what no page of the site needs."""

from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin


class SecurityHeaders(MiddlewareMixin):
    """Adds headers that Django 5.2 has no middleware for: ``SECURE_CSP``, written as in Django 6
    (https://docs.djangoproject.com/en/6.0/ref/csp/), and ``PERMISSIONS_POLICY``.

    A header that a view has set is kept.
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
            # Its headers would replace the stored response's, which a view may have set.
            return response
        for name, value in self._headers.items():
            response.headers.setdefault(name, value)
        if settings.DEBUG and response.status_code in {404, 500}:
            # Django's debug pages contain their style and scripts.
            del response.headers["Content-Security-Policy"]
        return response
