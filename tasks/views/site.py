"""What browsers ask of a site: its icon, and how it is installed."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe


@cache_control(max_age=24 * 60 * 60)  # seconds
@require_safe
def favicon(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    return HttpResponseRedirect(static("tasks/favicon.ico"))


@cache_control(max_age=60 * 60)  # seconds
@require_safe
def manifest(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Return the web app manifest (https://www.w3.org/TR/appmanifest/)."""
    icons = [
        {
            "src": static(f"tasks/icon-{size}.png"),
            "sizes": f"{size}x{size}",
            "type": "image/png",
            "purpose": "any maskable",
        }
        for size in (192, 512)
    ]
    return JsonResponse(
        {
            "name": "Tasks",
            "short_name": "Tasks",
            "start_url": reverse("tasks:list"),
            "scope": "/",
            "display": "standalone",
            "background_color": "#f5f5fa",
            "theme_color": "#4338ca",
            "icons": icons,
        },
        content_type="application/manifest+json",
    )
