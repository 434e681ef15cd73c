"""Values that depend on other scopes than those of their entry.

A page depends on the fragments in it, and the value of a function with ``depends_on="queries"`` on
the tables that its queries read. These are known only after the load, so they are stored with the
value. Each `Dependency` has the generations from *before* the read. A hit needs all of them to be
the current ones. This is the rule of `beaker_regions.engine.region` once more: an invalidation
changes a generation, and an old one never comes back.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from beaker_regions.engine import loading, reads
from beaker_regions.engine.drivers import LoadFlow
from beaker_regions.engine.reads import Dependency, Reads, current_reads, noting, tables_entry
from beaker_regions.engine.region import Region
from beaker_regions.engine.store import Reading
from beaker_regions.entries.content import is_content
from beaker_regions.entries.entry import Entry, Lookup
from beaker_regions.entries.freshness import Policy
from beaker_regions.entries.sentinels import MISSING, UNKNOWN
from beaker_regions.errors import ConfigurationError


def current(dependencies: Iterable[Dependency], regions: Mapping[str, Region]) -> set[Dependency]:
    """Return those of ``dependencies`` that have not expired and have the current generations. It
    takes one round trip to each server of each of the ``regions``."""
    by_region: dict[str, list[Dependency]] = {}
    now = time.time()
    for each in dependencies:
        if now < each.until and each.region in regions:
            by_region.setdefault(each.region, []).append(each)
    found = set()
    for name, some in by_region.items():
        lookups = regions[name].lookup_many([each.entry for each in some])
        for each, lookup in zip(some, lookups, strict=True):
            if lookup is not None and lookup.generations == each.generations:
                found.add(each)
    return found


class Dependent(NamedTuple):
    """The stored form of a value that depends on the tables that its queries read."""

    value: Any
    dependencies: tuple[Dependency, ...] | None
    """None: they are unknown. Such a value is not stored."""


class _ReadingWithTables(Reading):
    """A read of an entry, together with generations of tables."""

    def __init__(self, own: Reading, tables: Entry, seen: Reading) -> None:
        self._own, self._tables, self._seen = own, tables, seen
        self.answers = (*own.answers, *seen.answers)

    def lookup_in_loop(self) -> Lookup | None:
        own, seen = self._own.lookup_in_loop(), self._seen.lookup_in_loop()
        return own and seen and self._joined(own, seen)

    def lookup(self) -> Lookup:
        return self._joined(self._own.lookup(), self._seen.lookup())

    def _joined(self, own: Lookup, seen: Lookup) -> Lookup:
        return own._replace(tables=reads.generations_of(self._tables, seen))


class QueryDependents:
    """The values of one function with ``depends_on="queries"``.

    It remembers the tables that the function's values depended on, and reads their generations
    together with the next record. So a hit is one round trip. A dependency on a table that it does
    not remember, or on another entry, takes a second one.
    """

    def __init__(self, region: Region, policy: Policy) -> None:
        self._region = region
        self._tables: dict[str, None] = {}
        """The scopes of the remembered tables."""
        wanted = policy.store_if

        def is_storable(made: Dependent) -> bool:
            return made.dependencies is not None and (wanted is None or wanted(made.value))

        self._policy = replace(policy, store_if=is_storable)
        reads.want_queries()

    # -- stored values ---------------------------------------------------------------------

    def lookup(self, entry: Entry) -> Lookup | None:
        return self.lookup_many([entry])[0]

    def lookup_many(self, entries: Sequence[Entry]) -> list[Lookup | None]:
        """As `Region.lookup_many`. Each lookup has the generations of the remembered tables."""
        scopes = tuple(self._tables)
        if not scopes:
            return self._region.lookup_many(entries)
        tables = [tables_entry(entry, scopes) for entry in entries]
        found = self._region.lookup_many([*entries, *tables])
        return [
            lookup and seen and lookup._replace(tables=reads.generations_of(table, seen))
            for lookup, table, seen in zip(
                found[: len(entries)], tables, found[len(entries) :], strict=True
            )
        ]

    def begin_lookup(self, entry: Entry) -> Reading | None:
        """As `Region.begin_lookup`, of an entry and the generations of the remembered tables."""
        own = self._region.begin_lookup(entry)
        scopes = tuple(self._tables)
        if own is None or not scopes:
            return own
        tables = tables_entry(entry, scopes)
        seen = self._region.begin_lookup(tables)
        return seen and _ReadingWithTables(own, tables, seen)

    def value_if_fresh(self, entry: Entry, lookup: Lookup | None, policy: Policy) -> Any:
        """As `Region.value_if_fresh`, if no dependency of the value was invalidated."""
        made = self._region.value_if_fresh(entry, lookup, policy)
        if made is MISSING or lookup is None:
            return MISSING
        others = self._not_seen(made, entry, lookup)
        return _handed_out(made) if self._are_current(others) else MISSING

    def value_in_loop(self, entry: Entry, lookup: Lookup | None, policy: Policy) -> Any:
        """As `value_if_fresh`; UNKNOWN if an event loop must not wait for it."""
        made = self._region.value_in_loop(entry, lookup, policy)
        if made is MISSING or made is UNKNOWN or lookup is None:
            return made
        return UNKNOWN if self._not_seen(made, entry, lookup) else _handed_out(made)

    def _not_seen(self, made: Any, entry: Entry, lookup: Lookup) -> list[Dependency]:
        """Return the dependencies whose generations the lookup has not shown to be current."""
        return [each for each in made.dependencies if not self._is_seen(each, entry, lookup)]

    def _is_seen(self, dependency: Dependency, entry: Entry, lookup: Lookup) -> bool:
        """Whether the lookup has the dependency's generations, and they are the same."""
        if dependency.region != self._region.name or dependency.entry.scopes[0] != entry.scopes[0]:
            return False
        tables = reads.tables_of(dependency.entry)
        seen = tuple([lookup.tables.get(scope) for scope in tables])
        return bool(tables) and seen == dependency.generations[1:]

    def _are_current(self, dependencies: Sequence[Dependency]) -> bool:
        for each in dependencies:
            self._tables |= dict.fromkeys(reads.tables_of(each.entry))
        if not dependencies:
            return True
        return current(dependencies, self._region.siblings).issuperset(dependencies)

    # -- loads -----------------------------------------------------------------------------

    def load(self, entry: Entry, lookup: Lookup | None) -> LoadFlow:
        """As `loading.load`, of a function that `dependent` has made."""
        with noting(self._begun(entry)):
            flow = loading.load(self._region, entry, lookup, self._policy, self._holds)
            made = yield from flow
        return _handed_out(made)

    def refresh(self, entry: Entry) -> LoadFlow:
        """As `loading.refresh`, of a function that `dependent` has made."""
        with noting(self._begun(entry)):
            made = yield from loading.refresh(self._region, entry, self._policy)
        return _handed_out(made)

    def _begun(self, entry: Entry) -> Reads:
        if not reads.are_queries_noted():
            raise ConfigurationError(
                f'{entry.function}: depends_on="queries": nothing here notes the queries of a '
                f'database: add "beaker_regions.django" to INSTALLED_APPS, or name tags='
            )
        return Reads(self._region, entry)

    def _holds(self, made: Dependent) -> bool:
        return made.dependencies is not None and self._are_current(made.dependencies)

    def dependent(self, function: Callable[[], Any]) -> Callable[[], Dependent]:
        """Return ``function`` with its value as a `Dependent`."""
        return lambda: self._made(function())

    def async_dependent(
        self, function: Callable[[], Awaitable[Any]]
    ) -> Callable[[], Awaitable[Dependent]]:
        """As `dependent`, for a coroutine function."""

        async def load() -> Dependent:
            return self._made(await function())

        return load

    def _made(self, value: Any) -> Dependent:
        noted = current_reads()
        assert noted is not None
        if is_content(value):
            raise ConfigurationError(
                'a function with depends_on="queries" returns no file and no stream: name tags='
            )
        return Dependent(value, noted.end())


def _handed_out(made: Dependent) -> Any:
    """Return the value alone. The load around this call, if any, depends on the same."""
    around = current_reads()
    if around is not None:
        around.note(made.dependencies)
    return made.value
