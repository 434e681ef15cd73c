"""Entries that contain other entries: pages and fragments with fragments in them.

The text of a fragment is part of every page and fragment around it. So these must become stale
when the fragment does. Which fragments an entry contains is known only after its rendering. During
the rendering, each fragment is recorded with the generations from before it was read or rendered,
and stored with the entry. A hit reads the current generations of all of them at once, and is valid
only if they are still the same. This is the promise of `beaker_regions.engine.region` once more:
an invalidation changes a fragment's generations, and the old ones never come back.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from beaker_regions.engine import invalidation, loading
from beaker_regions.engine.dependencies import current
from beaker_regions.engine.drivers import LoadFlow
from beaker_regions.engine.reads import Dependency, known_generations
from beaker_regions.engine.region import Region
from beaker_regions.entries.entry import Entry, Lookup
from beaker_regions.entries.freshness import Policy
from beaker_regions.entries.sentinels import MISSING


class Recorder:
    """Records the fragments that one entry contains, as long as it is rendered."""

    def __init__(self) -> None:
        self.is_open = True
        self.dependencies: dict[Dependency, None] = {}
        self.has_unknown = False
        """Whether a fragment was used whose generations are unknown."""
        self.of_request = ""
        """A part that belongs to one request, and so may be in no fragment; empty: none."""


_recorder: ContextVar[Recorder | None] = ContextVar("_recorder", default=None)


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record the fragments that this block uses; the recorder of an outer block does not see
    them."""
    recorder = Recorder()
    token = _recorder.set(recorder)
    try:
        yield recorder
    finally:
        recorder.is_open = False
        _recorder.reset(token)


def current_recorder() -> Recorder | None:
    """Return the recorder of the innermost open block. Code that outlives its block has none."""
    recorder = _recorder.get()
    return recorder if recorder is not None and recorder.is_open else None


class Found(NamedTuple):
    """The result of a lookup."""

    lookup: Lookup | None
    value: Any
    """MISSING if it may not be used."""


def look_up(region: Region, entries: Sequence[Entry], policy: Policy) -> list[Found]:
    """Look up entries whose values have ``dependencies``: in one round trip to each server, and a
    second one if any value has some."""
    return check(region, entries, region.lookup_many(entries), policy)


def check(
    region: Region, entries: Sequence[Entry], lookups: Sequence[Lookup | None], policy: Policy
) -> list[Found]:
    """Return which of the values in ``lookups`` may be used; reads the current generations of
    their dependencies, if they have any."""
    values = [
        region.value_if_fresh(entry, lookup, policy)
        for entry, lookup in zip(entries, lookups, strict=True)
    ]
    wanted = {each for value in values if value is not MISSING for each in value.dependencies}
    valid = current(wanted, region.siblings) if wanted else wanted
    return [
        Found(
            lookup,
            value if value is not MISSING and valid.issuperset(value.dependencies) else MISSING,
        )
        for lookup, value in zip(lookups, values, strict=True)
    ]


def fetch(region: Region, entry: Entry, policy: Policy, found: Found) -> LoadFlow:
    """Return the found value, or load it."""
    lookup = found.lookup
    if found.value is not MISSING:
        if lookup is not None and lookup.record is not None:
            region.stats.of(entry.function).hit(entry, lookup, found.value)
        return found.value
    holds = functools.partial(_is_current, region)
    return (yield from loading.load(region, entry, lookup, policy, holds))


def _is_current(region: Region, value: Any) -> bool:
    """Whether no dependency of a value was invalidated or has expired."""
    dependencies = value.dependencies
    return not dependencies or current(dependencies, region.siblings).issuperset(dependencies)


def dependency_on(region: Region, entry: Entry, policy: Policy, found: Found) -> Dependency | None:
    """Return the dependency of an outer entry on this one; None if the generations are unknown.
    Call it before the value is loaded."""
    lookup, now = found.lookup, time.time()
    if found.value is not MISSING and lookup is not None and lookup.record is not None:
        until = lookup.record.stored_at + policy.expire
        return Dependency(region.name, entry, lookup.generations, until)
    if lookup is None or invalidation.transactions.active():
        return None
    generations = known_generations(region, entry)
    if generations is None:
        return None
    return Dependency(region.name, entry, generations, now + policy.expire)
