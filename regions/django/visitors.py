"""Who asks for a page, as far as a page is for some and not for others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from regions.errors import nearest

By = Callable[[HttpRequest], Any]
"""From a request to what tells its visitor, or a group of them, from others."""


def asked_by(by: str | By | None) -> By | None:
    """Return the function that tells visitors apart. Raises ValueError."""
    if by is None or callable(by):
        return by
    if by not in _WHO:
        raise ValueError(f"by={by!r}: {nearest(by, _WHO)}, or a function of the request")
    return _WHO[by]


def _user(request: HttpRequest) -> Any:
    return request.user.pk


def _session(request: HttpRequest) -> Any:
    # What is in a session belongs to its key: the page shows it. Looking loads the session, so
    # that one that has ended, whose key a browser still sends, is none.
    content = dict(request.session.items())
    return request.session.session_key, content


_WHO = {"user": _user, "session": _session}
