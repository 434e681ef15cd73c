"""What every template's text may depend on beside what it is given: part of the key of whatever
is kept of it."""

from __future__ import annotations

from django.conf import settings
from django.urls import get_script_prefix, get_urlconf
from django.utils import timezone, translation

from beaker_regions.django.pages.fingerprint import release
from beaker_regions.errors import ConfigurationError


def surroundings() -> tuple[str, ...]:
    """Return the release, what links are made of, the language and the time zone, each without a
    line break. Raises ConfigurationError."""
    return (
        release(),
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
            f"request.urlconf is a {type(urlconf).__name__}, which has no name to tell its pages "
            f"from others: set it to a module, or to a module's name"
        )
    return str(name)
