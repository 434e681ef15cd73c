"""Error pages beyond those of Django's own handlers."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """Refuse a form that did not come from a page of this site, or came from an outdated one:
    logging in or out in another tab makes a page outdated. The page shows the typed text, so that
    the visitor can copy it.
    """
    return render(request, "403_csrf.html", {"typed": request.POST.get("name", "")}, status=403)
