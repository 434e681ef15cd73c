"""Who asks for a page, as far as a page is for some and not for others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import SESSION_KEY, get_user
from django.db.models import Model
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from beaker_regions.errors import nearest

By = Callable[[HttpRequest], Any]
"""From a request to what tells its visitor, or a group of them, from others."""


def asked_by(by: str | By | None) -> By | None:
    """Return the function that tells visitors apart. Raises ValueError."""
    if by is None or callable(by):
        return by
    if by not in _WHO:
        raise ValueError(f"vary_by={by!r}: {nearest(by, _WHO)}, or a function of the request")
    return _WHO[by]


def is_authenticated(request: HttpRequest) -> bool:
    """Whether the request's user has logged in, if that has been looked up already."""
    user = getattr(request, "user", None)
    if isinstance(user, LazyObject) and user._wrapped is empty:
        return False
    return bool(getattr(user, "is_authenticated", False))


def refusal(request: HttpRequest, before: Any) -> str:
    """Return why what was rendered for a user is not to be kept for that user; empty if it may be.

    ``before`` is what `known_user` returned before the rendering began. A session goes on naming a
    user who was deleted or may not log in any more; its pages are those of a visitor. And a page
    of a user as it was read before the rendering may be older than an invalidation since.
    """
    session: Any = getattr(request, "session", None)
    if getattr(session, "accessed", False) and SESSION_KEY in session:
        user = getattr(request, "user", None)
        if user is not None and not user.is_authenticated:
            return "the session names a user who was not found, or is refused"
    if isinstance(before, Model) and _fields(before) != _fields(get_user(request)):
        return "the user was changed meanwhile"
    return ""


def known_user(request: HttpRequest) -> Any:
    """Return the user that Django's authentication has fetched for the request; None if nobody
    has asked for it yet."""
    return getattr(request, "_cached_user", getattr(request, "_acached_user", None))


def _fields(user: Any) -> dict[str, Any]:
    names = [field.attname for field in user._meta.concrete_fields] if user.pk else []
    return {name: user.__dict__[name] for name in names if name in user.__dict__}


def _user(request: HttpRequest) -> Any:
    return request.user.pk


def _session(request: HttpRequest) -> Any:
    # What is in a session belongs to its key: the page shows it. Looking loads the session, so
    # that one that has ended, whose key a browser still sends, is none.
    content = dict(request.session.items())
    return request.session.session_key, content


_WHO = {"user": _user, "session": _session}
