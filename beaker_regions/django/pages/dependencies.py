"""Entries that contain other entries: pages and fragments with fragments in them.

What is rendered of a fragment lies in the text of all that is around it, so each of these must be
stale when the fragment is. Which fragments there are is known only when it has been rendered. So
while something is rendered for the store, the fragments that it uses are recorded, each with the
generations that held before it was read or rendered, and stored with the text; a hit asks for the
current ones, all at once, and counts only if they are still the same. This is the promise of
`regions.region` over again: those generations change when the fragment is invalidated, and never
come back.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from beaker_regions.django.manager import has_region, region_named
from beaker_regions.engine import loading, transactions
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from beaker_regions.engine.drivers import LoadFlow
    from beaker_regions.engine.region import Region
    from beaker_regions.entries.entry import Entry, Lookup
    from beaker_regions.entries.freshness import Policy


class Need(NamedTuple):
    """A fragment that something else contains."""

    region: str
    entry: Entry
    generations: tuple[bytes | None, ...]
    """Those that held when the fragment was read, or before it was rendered."""
    until: float
    """When the fragment expires, in seconds since the epoch."""


class Recorder:
    """What was used while one entry was rendered. What was begun then, and goes on afterwards, is
    of no entry."""

    def __init__(self) -> None:
        self.is_open = True
        self.needs: dict[Need, None] = {}
        self.unknown = False
        """Whether something was used of which nobody can say later whether it is still right."""
        self.refused = ""
        """What was used that no fragment may contain, since it is of one request."""


_recorder: ContextVar[Recorder | None] = ContextVar("_recorder", default=None)


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record what is used in this block; what is around it learns only what it is told."""
    recorder = Recorder()
    token = _recorder.set(recorder)
    try:
        yield recorder
    finally:
        recorder.is_open = False
        _recorder.reset(token)


def recorder() -> Recorder | None:
    """Return the recorder of what is being rendered for the store, if anything is."""
    around = _recorder.get()
    return around if around is not None and around.is_open else None


class Found(NamedTuple):
    """What a look at an entry gave."""

    reading: Lookup | None
    value: Any
    """MISSING where it may not be used."""


def look(region: Region, entries: Sequence[Entry], policy: Policy) -> list[Found]:
    """Look up entries whose values have ``needs``: one round trip to each server, and another one
    if any of them needs something."""
    return judge(region, entries, region.look_many(entries), policy)


def judge(
    region: Region, entries: Sequence[Entry], readings: Sequence[Lookup | None], policy: Policy
) -> list[Found]:
    """Return what was found by looking; asks for what the values need, if they need anything."""
    values = [
        region.fresh(entry, reading, policy)
        for entry, reading in zip(entries, readings, strict=True)
    ]
    wanted = {need for value in values if value is not MISSING for need in value.needs}
    held = _held(wanted) if wanted else wanted
    return [
        Found(reading, value if value is not MISSING and held.issuperset(value.needs) else MISSING)
        for reading, value in zip(readings, values, strict=True)
    ]


def fetch(region: Region, entry: Entry, policy: Policy, found: Found) -> LoadFlow:
    """Return the found value, or load it."""
    reading = found.reading
    if found.value is not MISSING:
        if reading is not None and reading.record is not None:
            region.stats.of(entry.function).hit(entry, reading, reading.record, found.value)
        return found.value
    return (yield from loading.load(region, entry, reading, policy, _holds))


def _holds(value: Any) -> bool:
    """Whether nothing that a value contains was invalidated since."""
    return not value.needs or _held(value.needs).issuperset(value.needs)


def use(region: Region, entry: Entry, policy: Policy, found: Found) -> Need | None:
    """Return what needs this entry's value is to record; None if that cannot be known. To be
    called before the value is loaded."""
    reading, now = found.reading, time.time()
    if found.value is not MISSING and reading is not None and reading.record is not None:
        until = reading.record.stored_at + policy.expire
        return Need(region.name, entry, reading.generations, until)
    if reading is None or transactions.current.active():
        return None
    try:
        generations = region.store.begin(entry).generations
    except StoreUnavailableError:
        return None
    if None in generations:
        return None
    return Need(region.name, entry, generations, now + policy.expire)


def _held(needs: Iterable[Need]) -> set[Need]:
    """Return those of ``needs`` that are as they were."""
    by_region: dict[str, list[Need]] = {}
    now = time.time()
    for need in needs:
        if now < need.until and has_region(need.region):
            by_region.setdefault(need.region, []).append(need)
    held = set()
    for name, some in by_region.items():
        readings = region_named(name).look_many([need.entry for need in some])
        for need, reading in zip(some, readings, strict=True):
            if reading is not None and reading.generations == need.generations:
                held.add(need)
    return held
