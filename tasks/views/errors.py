"""Pages for what went wrong that Django's own handlers do not show."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """Refuse a form that did not come from a page of this site, or from one that is outdated:
    logging in or out in another tab does that. What was typed is shown, to be copied.
    """
    return render(request, "403_csrf.html", {"typed": request.POST.get("name", "")}, status=403)
