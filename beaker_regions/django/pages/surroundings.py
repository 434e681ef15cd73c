"""What a template depends on besides its context: part of each page's and fragment's key."""

from __future__ import annotations

from django.conf import settings
from django.urls import get_script_prefix, get_urlconf
from django.utils import timezone, translation

from beaker_regions.django.pages.fingerprint import template_fingerprint
from beaker_regions.errors import ConfigurationError


def surroundings() -> tuple[str, ...]:
    """Return the fingerprint of the templates, the prefix and the module of the URLs, the language
    and the time zone. None of them contains a line break. Raises ConfigurationError."""
    return (
        template_fingerprint(),
        get_script_prefix(),
        _urlconf(),
        (translation.get_language() or "") if settings.USE_I18N else "",
        timezone.get_current_timezone_name() if settings.USE_TZ else "",
    )


def _urlconf() -> str:
    urlconf = get_urlconf() or getattr(settings, "ROOT_URLCONF", "")
    name = urlconf if isinstance(urlconf, str) else getattr(urlconf, "__name__", None)
    if name is None:
        raise ConfigurationError(
            f"request.urlconf is a {type(urlconf).__name__}, and has no name that can be part of a "
            f"page's key: set it to a module, or to a module's name"
        )
    return str(name)
