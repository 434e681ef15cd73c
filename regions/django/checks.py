"""Django's system checks: a region that cannot do its work is reported at start.

Servers are not asked: a deployment does not fail because a memcached starts later than it does.
``manage.py regions check`` asks them.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004

from regions import health
from regions.region import all_regions

TAG = "regions"


def check_regions(**_: Any) -> list[CheckMessage]:
    """Return what is wrong with the regions of this process."""
    found: list[CheckMessage] = []
    for region in all_regions():
        for finding in health.check_here(region):
            if finding.level == "ok":
                continue
            message = f"Region {finding.region!r}: {finding.subject}: {finding.message}"
            # In development one process is often all there is.
            is_error = finding.level == "error" and not (
                finding.subject == "secret" and settings.DEBUG
            )
            if is_error:
                found.append(Error(message, id="regions.E001"))
            else:
                found.append(Warning(message, id="regions.W001"))
    return found
