"""What Prometheus asks for: every counter of every region, in its text format."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from beaker_regions.django.staff.access import has_token, is_staff
from beaker_regions.reports.prometheus import exposition


@require_safe
@never_cache
def scrape(request: HttpRequest) -> HttpResponse:
    """Return the counters to the staff, and to who bears the token METRICS_TOKEN."""
    if not has_token(request) and not is_staff(request):
        return HttpResponse("For the staff, and who bears METRICS_TOKEN.\n", "text/plain", 403)
    try:
        content, content_type = exposition(request.headers.get("Accept", ""))
    except OSError as error:
        # Of the folder where all processes count; Prometheus notes that a scrape failed.
        return HttpResponse(
            f"What was counted cannot be read: {error.strerror}\n", "text/plain", 503
        )
    return HttpResponse(content, content_type)
