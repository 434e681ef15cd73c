"""The ``vary_by`` of a page: it decides which visitors get pages of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import SESSION_KEY, get_user
from django.db.models import Model
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

VaryBy = Callable[[HttpRequest], Any]
"""From a request to a value that stands for its visitor, or for a group of visitors."""


def vary_by_function(vary_by: str | VaryBy | None) -> VaryBy | None:
    """Return the function that an application's ``vary_by`` means. Raises ValueError."""
    if vary_by is None or callable(vary_by):
        return vary_by
    if vary_by not in _NAMED:
        named = " or ".join(map(repr, _NAMED))
        raise ValueError(f"vary_by={vary_by!r}: write {named}, or give a function of the request")
    return _NAMED[vary_by]


def is_authenticated(request: HttpRequest) -> bool:
    """Whether the request's user has logged in, if the user is loaded already."""
    user = getattr(request, "user", None)
    if isinstance(user, LazyObject) and user._wrapped is empty:
        return False
    return bool(getattr(user, "is_authenticated", False))


def user_reason(request: HttpRequest, before: Any) -> str:
    """Return the reason why a page that was rendered for a user may not be stored for that user;
    empty if it may.

    ``before`` is the result of `loaded_user` before the rendering. The session may name a user who
    was deleted or may no longer log in: the page is then that of an anonymous visitor. And if the
    user was loaded before the rendering, the page may show fields from before an invalidation.
    """
    session: Any = getattr(request, "session", None)
    if getattr(session, "accessed", False) and SESSION_KEY in session:
        user = getattr(request, "user", None)
        if user is not None and not user.is_authenticated:
            return "the session names a user who does not exist, or may not log in"
    if isinstance(before, Model) and _fields(before) != _fields(get_user(request)):
        return "the user was changed during the rendering"
    return ""


def loaded_user(request: HttpRequest) -> Any:
    """Return the user that Django's authentication has loaded for the request; None before the
    first use of ``request.user``."""
    return getattr(request, "_cached_user", getattr(request, "_acached_user", None))


def _fields(user: Any) -> dict[str, Any]:
    names = [field.attname for field in user._meta.concrete_fields] if user.pk else []
    return {name: user.__dict__[name] for name in names if name in user.__dict__}


def _user(request: HttpRequest) -> Any:
    return request.user.pk


def _session(request: HttpRequest) -> Any:
    # A page shows the session's content, so that is part of its key. Reading it loads the session:
    # if a browser still sends the key of one that has expired, the key is None afterwards.
    content = dict(request.session.items())
    return request.session.session_key, content


_NAMED = {"user": _user, "session": _session}
