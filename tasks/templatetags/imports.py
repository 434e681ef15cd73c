"""The runs of the import, on the staff page."""

from __future__ import annotations

from typing import Any

from django import template

from tasks.importing.runs import KILLED, end_of, latest, seconds_of

register = template.Library()
SHOWN = 10


@register.simple_tag
def import_runs() -> list[dict[str, Any]]:
    """Return the last runs, the last one first."""
    return [
        {
            "run": run,
            "at": run.started_at.timestamp(),
            "seconds": seconds_of(run),
            "end": (end := end_of(run)),
            "is_bad": end == KILLED or bool(run.status),
        }
        for run in latest(SHOWN)
    ]
