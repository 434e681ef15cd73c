"""Error pages beyond those of Django's own handlers."""

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.http.multipartparser import MultiPartParserError
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.defaults import page_not_found


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Refuse a request that cannot be understood. Django's own handler reads the form again, for a
    token that this page does not need, and fails if it cannot be read."""
    return HttpResponseBadRequest(render_to_string("400.html"))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say that there is no such page, or refuse a form that was sent there and cannot be read."""
    try:
        return page_not_found(request, exception)
    except (BadRequest, MultiPartParserError) as error:
        return bad_request(request, error)


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
