"""The project's addresses, and one of a view that does nothing."""

import inspect

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from bench.served.settings import STAGE
from tasks.views import tasks


def empty(_: HttpRequest) -> HttpResponse:
    return HttpResponse("")


urlpatterns = [
    path("empty/", empty),
    *([] if STAGE == "page" else [path("", inspect.unwrap(tasks.index))]),
    path("", include("project.urls")),
]
