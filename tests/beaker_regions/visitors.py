"""A browser of a WSGI application: it asks for pages, and keeps its cookies."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


class Visitor:
    """One visitor of ``application``."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = validator(application)
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        """Those of the last answer."""

    def get(self, path: str) -> str:
        """Return the text of a page."""
        environ: dict[str, Any] = {"QUERY_STRING": ""}
        setup_testing_defaults(environ)
        environ["PATH_INFO"] = path
        environ["HTTP_COOKIE"] = "; ".join(f"{name}={it}" for name, it in self.cookies.items())

        def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
            assert status == "200 OK"
            self.headers = dict(headers)

        chunks = self._application(environ, start_response)
        text = b"".join(chunks).decode()
        chunks.close()  # type: ignore[attr-defined]
        for name, morsel in SimpleCookie(self.headers.get("Set-cookie", "")).items():
            self.cookies[name] = morsel.coded_value
        return text
