"""The tables and entries that a load reads, with the generations from before each read.

A function with ``depends_on="queries"`` depends on the tables that its queries read, and on the
cached functions that it calls (`beaker_regions.engine.dependencies`). This module notes them while
the function runs. This library knows no database: an integration, such as `beaker_regions.django`,
calls `set_query_noter`, and then `Reads.note_tags` before each query of `current_reads`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

from beaker_regions.engine import invalidation
from beaker_regions.engine.store import Store
from beaker_regions.entries.entry import Entry, Lookup, address_of, tag_scope
from beaker_regions.errors import ConfigurationError, StoreUnavailableError

_note_queries: Callable[[], None] | None = None
_are_queries_wanted = False


def set_query_noter(note_queries: Callable[[], None]) -> None:
    """Set the function that lets every query of this process be noted in `current_reads` before it
    runs. It is called when the first cached function needs that."""
    global _note_queries
    _note_queries = note_queries
    if _are_queries_wanted:
        note_queries()


def want_queries() -> None:
    """Let queries be noted, from now on or as soon as `set_query_noter` is called."""
    global _are_queries_wanted
    _are_queries_wanted = True
    if _note_queries is not None:
        _note_queries()


def are_queries_noted() -> bool:
    return _note_queries is not None


class ReadRegion(Protocol):
    """The part of a region that is needed to note its entries."""

    name: str
    store: Store
    siblings: Mapping[str, Any]


class Dependency(NamedTuple):
    """Scopes that a value depends on: those of another entry, or of tables."""

    region: str
    entry: Entry
    generations: tuple[bytes | None, ...]
    """The generations from before the other value was read or made, in the order of the scopes."""
    until: float = math.inf
    """When the other value expires, in seconds since the epoch."""


_TABLES = address_of(b"the tables that a value was made of")
"""The address of an entry that is never stored: only the generations of its scopes are read."""


def tables_entry(own: Entry, scopes: Iterable[str]) -> Entry:
    """Return an entry that is never stored. The generations of its ``scopes`` are those that the
    servers of ``own`` have."""
    return Entry(own.function, _TABLES, (own.scopes[0], *scopes))


def tables_of(entry: Entry) -> tuple[str, ...]:
    """Return the scopes of a `tables_entry`; none for another entry."""
    return entry.scopes[1:] if entry.address == _TABLES else ()


def generations_of(tables: Entry, lookup: Lookup) -> dict[str, bytes | None]:
    """Return the generations of the scopes of a `tables_entry`."""
    return dict(zip(tables.scopes[1:], lookup.generations[1:], strict=True))


def known_generations(region: ReadRegion, entry: Entry) -> tuple[bytes | None, ...] | None:
    """Return an entry's generations before its value is read or made; None if one is unknown."""
    try:
        generations = region.store.read_for_load(entry).generations
    except StoreUnavailableError:
        return None
    return None if None in generations else generations


class Reads:
    """The tables and entries that one load of an entry has read."""

    def __init__(self, region: ReadRegion, entry: Entry) -> None:
        self._region = region
        self._own = entry
        self.function = entry.function
        self._noted: set[str] = set()
        """The scopes of tables, and the own scopes of entries."""
        self._dependencies: dict[Dependency, None] = {}
        self._is_known = not invalidation.transactions.active()
        self._is_over = False
        self._is_stored = False

    def note_tags(self, tags: Iterable[str]) -> None:
        """Note the tags of rows, before a query reads them. Raises ConfigurationError while the
        loaded value is stored: then the value, such as a query set, reads the rows."""
        if self._is_stored:
            return  # a task or thread that began in the load has outlived it
        if self._is_over:
            raise ConfigurationError(
                f'{self.function}: depends_on="queries": the returned value asks the database '
                f"when it is stored: return rows, such as list(...) of a query set"
            )
        new = [scope for scope in map(tag_scope, tags) if scope not in self._noted]
        if new:
            self._noted.update(new)
            self._note(self._region, tables_entry(self._own, new))

    def note_entry(self, region: ReadRegion, entry: Entry) -> None:
        """Note another entry, before it is looked up."""
        if not self._is_over and entry.address != _TABLES and entry.scopes[0] not in self._noted:
            self._noted.add(entry.scopes[0])
            self._note(region, entry)

    def note(self, dependencies: Iterable[Dependency] | None) -> None:
        """Note the dependencies of another value; None: they are unknown."""
        if dependencies is None:
            self.give_up()
        else:
            self._dependencies |= dict.fromkeys(dependencies)

    def give_up(self) -> None:
        """Note a read that no generation covers: the value must not be stored."""
        self._is_known = False

    def end(self) -> tuple[Dependency, ...] | None:
        """End the load. Returns the dependencies of its value; None: they are unknown."""
        self._is_over = True
        return tuple(self._dependencies) if self._is_known else None

    def close(self) -> None:
        """Note nothing any more: the value is stored, or the load has failed."""
        self._is_over = self._is_stored = True

    def _note(self, region: ReadRegion, entry: Entry) -> None:
        if not self._is_known:
            return
        if self._region.siblings.get(region.name) is not region:
            self.give_up()  # it is of another manager
            return
        generations = known_generations(region, entry)
        if generations is None:
            self.give_up()
        else:
            self._dependencies[Dependency(region.name, entry, generations)] = None


class EntriesRead(Reads):
    """The entries that a block of code looks up. The block is no load of a function."""

    function = ""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.is_known = True
        """Whether it reads nothing else that is noted."""

    def note_entry(self, region: ReadRegion, entry: Entry) -> None:
        self.entries.append(entry)

    def note_tags(self, tags: Iterable[str]) -> None:
        self.is_known = False

    def note(self, dependencies: Iterable[Dependency] | None) -> None:
        self.is_known = self.is_known and dependencies is not None

    def give_up(self) -> None:
        self.is_known = False

    def close(self) -> None:
        """It is not stored."""


_reads: ContextVar[Reads | None] = ContextVar("_reads", default=None)
current_reads = _reads.get
"""Returns the reads of the innermost load of the running code; None: nothing has to be noted."""


@contextmanager
def noting(reads: Reads) -> Iterator[None]:
    """Let `current_reads` be these within the block."""
    token = _reads.set(reads)
    try:
        yield
    finally:
        reads.close()
        # The rest of a load whose coroutine was closed runs in another context.
        with contextlib.suppress(ValueError):
            _reads.reset(token)
