"""Compresses pages, without telling what is in them by their length."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware


class CompressedPages(GZipMiddleware):
    """Compresses HTML. Django adds random bytes, up to 100, so that the length of an answer says
    little about a secret beside a text that an attacker chose (BREACH, https://breachattack.com);
    CSRF tokens are masked differently each time.

    Files are left as they are: clients ask for ranges of them, and the kernel or nginx sends them.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if response.streaming or not response.get("Content-Type", "").startswith("text/html"):
            return response
        return super().process_response(request, response)
