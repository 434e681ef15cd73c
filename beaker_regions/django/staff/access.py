"""Access to the pages and metrics: for the staff, and for programs with a token."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache

View = Callable[..., HttpResponseBase]


def is_staff(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_staff)


def staff_only(view: View) -> View:
    """Let only the staff see a view. An anonymous visitor is asked to log in."""

    @functools.wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path(), reverse("admin:login"))
        if not is_staff(request):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return never_cache(guarded)


def has_token(request: HttpRequest) -> bool:
    """Whether a request has the bearer token METRICS_TOKEN (RFC 6750, section 2.1). False if the
    setting is empty."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    wanted: str = getattr(settings, "METRICS_TOKEN", "")
    return (
        bool(wanted) and scheme.lower() == "bearer" and constant_time_compare(token.strip(), wanted)
    )
