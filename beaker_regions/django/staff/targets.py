"""The things that the staff can invalidate: a function, a tag, a region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.http import Http404

from beaker_regions.django.cli import reports
from beaker_regions.engine.invalidation import invalidate_tags
from beaker_regions.engine.region import all_regions, regions_named
from beaker_regions.entries.entry import function_scope

LONGEST = 200
"""Characters of the name of an entry in the admin's log."""


@dataclass(frozen=True)
class Target:
    """A function, tag or region to invalidate. For a tag, ``region`` is empty."""

    kind: str
    region: str
    name: str

    @property
    def title(self) -> str:
        if self.kind == "function":
            return f"{self.name}, in region {self.region}"
        return f"{self.kind} {self.name}"

    def invalidate(self, user_id: Any) -> None:
        """Invalidate it, and record that in the admin's log. If the database fails, neither
        happens."""
        with transaction.atomic():
            LogEntry.objects.create(
                user_id=user_id,
                action_flag=CHANGE,
                object_repr=f"Invalidated: {self.title}"[:LONGEST],
                change_message=f"Invalidated: {self.title}",
            )
            if self.kind == "tag":
                invalidate_tags(all_regions(), [self.name], cause="the staff")
                return
            for region in regions_named(self.region):
                if self.kind == "region":
                    region.invalidate_everything()
                else:
                    scope = function_scope(region.name, self.name)
                    what = f"all calls of {self.name}"
                    region.invalidate(frozenset((scope,)), what, self.name)


def target(fields: Mapping[str, str]) -> Target:
    """Return the target that the fields of a form or a query name. Raises Http404."""
    kind, region = fields.get("kind", ""), fields.get("region", "")
    name = fields.get("name", "").strip()
    if kind == "tag" and name:
        return Target(kind, "", name)
    if kind == "region" and regions_named(name):
        return Target(kind, name, name)
    if kind == "function" and is_function(region, name):
        return Target(kind, region, name)
    raise Http404(f"There is no {kind or 'target'} {name!r}")


def is_function(region: str, name: str) -> bool:
    """Whether a function, page or fragment of this name exists, or was ever counted."""
    return bool(name) and any(
        name in each.policies or name in {done.function for done in reports.collected(each)}
        for each in regions_named(region)
    )
