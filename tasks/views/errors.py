"""Error pages beyond those of Django's own handlers."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """Refuse a form that did not come from a page of this site, or came from an outdated one:
    logging in or out in another tab makes a page outdated.
    """
    return outdated_form(request)


@never_cache
def outdated_form(request: HttpRequest) -> HttpResponse:
    """Refuse a form. The page has the typed text, which can be added to the present list."""
    typed = {name: request.POST.get(name, "") for name in ("name", "due")}
    context = {"typed": typed["name"], "due": typed["due"]}
    return render(request, "403_csrf.html", context, status=403)
