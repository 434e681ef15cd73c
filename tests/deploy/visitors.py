"""Visitors of the deployed site, with cookies, forms and their tokens."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

if TYPE_CHECKING:
    from email.message import Message

    from tests.deploy.site import Nginx


class Page(NamedTuple):
    status: int
    headers: Message
    text: str


class Visitor:
    """One browser."""

    def __init__(self, nginx: Nginx) -> None:
        self.address = f"https://localhost:{nginx.tls_port}"
        self.headers: dict[str, str] = {}
        """Sent with each request."""
        self.cookies = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=nginx.tls),
            urllib.request.HTTPCookieProcessor(self.cookies),
        )

    def get(self, path: str) -> Page:
        return self._ask(urllib.request.Request(self.address + path))

    def submit(self, path: str, action: str | None = None, **fields: str) -> Page:
        """Fill in the form of a page, and send it, to ``action`` if that is another address."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(path).text)
        assert token is not None, f"no form at {path}"
        return self.post(action or path, csrfmiddlewaretoken=token[1], **fields)

    def post(self, path: str, **fields: str) -> Page:
        request = urllib.request.Request(self.address + path, urlencode(fields).encode())
        request.add_header("Origin", self.address)
        return self._ask(request)

    def _ask(self, request: urllib.request.Request) -> Page:
        for name, value in self.headers.items():
            request.add_header(name, value)
        try:
            answer = self._opener.open(request, timeout=60)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            return Page(answer.status, answer.headers, answer.read().decode())
