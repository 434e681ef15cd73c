"""A browser that asks the WSGI application, as a server does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.test import Client

from beaker_regions.django import get_wsgi_application

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


class WSGIClient(Client):
    """Has CSRF protection on, always."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.handler = self._handle  # type: ignore[assignment]
        self._application: WSGIApplication | None = None

    def _handle(self, environ: dict[str, Any]) -> HttpResponse:
        # Made by the first request, for the middleware that a test has added.
        self._application = self._application or get_wsgi_application()
        response = HttpResponse()
        response.wsgi_request = WSGIRequest({**environ})  # type: ignore[attr-defined]

        def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
            response.status_code = int(status.split()[0])
            del response.headers["Content-Type"]  # a 304 has none
            for name, value in headers:
                if name == "Set-Cookie":
                    response.cookies.load(value)
                else:
                    response.headers[name] = value
            response.url = response.headers.get("Location")  # type: ignore[attr-defined]

        answer = self._application(environ, start)
        response.content = b"".join(answer)
        if isinstance(answer, HttpResponseBase):
            answer.close()
        return response
