"""The view that Prometheus reads: every counter of every region."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from beaker_regions.django.staff.access import has_token, is_staff
from beaker_regions.reports.prometheus import exposition


@require_safe
@never_cache
def scrape(request: HttpRequest) -> HttpResponse:
    """Return the counters to the staff, and to programs with the token METRICS_TOKEN."""
    if not has_token(request) and not is_staff(request):
        message = "Only for the staff, or with the bearer token METRICS_TOKEN.\n"
        return HttpResponse(message, "text/plain", 403)
    try:
        content, content_type = exposition(request.headers.get("Accept", ""))
    except OSError as error:
        # The folder of the counts cannot be read. Prometheus records the failed scrape.
        return HttpResponse(f"The counts cannot be read: {error.strerror}\n", "text/plain", 503)
    return HttpResponse(content, content_type)
