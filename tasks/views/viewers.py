"""Forms are for one viewer: somebody else who sends one in the same browser is refused.

After logging out in one tab, a page of another tab still shows the former user's list, with a valid
CSRF token. Its forms would otherwise write to a new visitor's list.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponseBase
from django.utils.crypto import salted_hmac

from tasks.lists import ownership
from tasks.views.errors import outdated_form

FIELD = "viewer"
NOBODY = ""
"""A visitor without a list. The list that the browser then gets is the same visitor's."""

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def name_of(request: HttpRequest) -> str:
    """Return a name of the viewer that says nothing to others."""
    if request.user.is_authenticated:
        viewer = f"user:{request.user.pk}"
    elif (list_id := ownership.list_id(request)) is not None:
        viewer = f"list:{list_id}"
    else:
        return NOBODY
    return salted_hmac("tasks.viewer", viewer, algorithm="sha256").hexdigest()[:16]


def for_its_viewer(view: View) -> View:
    """Make a view refuse a form that was made for another viewer. A form without the field is
    accepted."""

    @functools.wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST" and not _is_for(request, request.POST.get(FIELD)):
            return outdated_form(request)
        return view(request, *args, **kwargs)

    return checked  # type: ignore[return-value]


def _is_for(request: HttpRequest, name: str | None) -> bool:
    if name is None:
        return True
    if name == NOBODY:
        return not request.user.is_authenticated
    return name == name_of(request)
