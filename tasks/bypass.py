"""Lets a browser ask that nothing stored is used for it, by a cookie of "How this works"."""

from collections.abc import Awaitable
from typing import Any

from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin

from beakercache import cache

COOKIE = "keep_nothing"


class Bypass(MiddlewareMixin):
    """Runs the functions and views of a request that has the cookie as if nothing was stored, and
    stores nothing of it. Sessions work as usual."""

    async_mode: bool

    def __call__(self, request: HttpRequest) -> Any:
        if not request.COOKIES.get(COOKIE):
            return self.get_response(request)
        if self.async_mode:
            return self._awaited(request)
        with cache.bypassed():
            return self.get_response(request)

    async def _awaited(self, request: HttpRequest) -> Any:
        with cache.bypassed():
            response: Awaitable[Any] = self.get_response(request)  # type: ignore[assignment]
            return await response
