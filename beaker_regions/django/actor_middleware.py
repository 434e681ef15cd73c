"""Who invalidates, for the record of invalidations: the user of a request, or a command.

``beaker_regions.django.actor_middleware.ActorMiddleware`` belongs into MIDDLEWARE after Django's
for authentication.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.utils.functional import LazyObject, empty

from beaker_regions.telemetry import event_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

_PROGRAMS = {"manage.py", "django-admin", "django-admin.py"}


def name_program() -> None:
    """Let the record say which command of Django this process runs, if it runs one."""
    program, *arguments = sys.argv or [""]
    path = Path(program)
    if arguments and (path.name in _PROGRAMS or path.parts[-2:] == ("django", "__main__.py")):
        event_log.program = f"command {arguments[0]}"


class _User:
    """The user of a request, who is asked for only when something is written down. That never
    costs a query, which may not be possible by then: a user whom nobody has fetched is a number.
    """

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def __str__(self) -> str:
        request: Any = self._request
        user = getattr(request, "user", None)
        if isinstance(user, LazyObject) and user._wrapped is empty:
            # What views that are coroutines have awaited.
            user = getattr(request, "_acached_user", None)
        if user is not None:
            return user.get_username() if user.is_authenticated else ""
        # Of a session that nobody has looked at nothing is known either.
        content = getattr(getattr(request, "session", None), "_session_cache", {})
        key = content.get("_auth_user_id")
        return "" if key is None else f"user {key}"


class ActorMiddleware:
    """Middleware that lets the record of invalidations say whose request it was."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self._get_response):
            return self._acall(request)
        token = event_log.acting.set(_User(request))
        try:
            return self._get_response(request)
        finally:
            event_log.acting.reset(token)

    async def _acall(self, request: HttpRequest) -> Any:
        token = event_log.acting.set(_User(request))
        try:
            return await self._get_response(request)
        finally:
            event_log.acting.reset(token)
