"""The project's addresses, and those of views that do nothing."""

import inspect

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from bench.served.settings import STAGE
from tasks.views import tasks


def empty(_: HttpRequest) -> HttpResponse:
    return HttpResponse("")


def known(request: HttpRequest) -> HttpResponse:
    """Do nothing but find out who asks."""
    return HttpResponse(request.session["_auth_user_id"])


urlpatterns = [
    path("empty/", empty),
    path("known/", known),
    *([] if STAGE == "page" else [path("", inspect.unwrap(tasks.index))]),
    path("", include("project.urls")),
]
