"""Invalidations: of any scopes, in any regions, as if all at one moment.

A value may be made of another region's: a function's of an imported file. So the stores of several
regions are told one within the other: each lets nothing be stored that begins to load from when it
was told until all others have been (`beaker_regions.engine.store.Store.invalidate`).
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from beaker_regions.engine import transactions
from beaker_regions.engine.transactions import Invalidation
from beaker_regions.entries.entry import region_scope, tag_scope
from beaker_regions.errors import ConfigurationError, StoreUnavailableError
from beaker_regions.runtime import forking

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

    from beaker_regions.engine.store import Store
    from beaker_regions.engine.transactions import Target

latest: object = object()
"""Another one after each invalidation by this process, whatever the region."""


def invalidate(invalidations: Iterable[Invalidation]) -> list[Invalidation]:
    """Invalidate at the end of the bulk change, at the commit of the transaction, or now. Returns
    what a store cannot do yet, and keeps."""
    global latest
    latest = object()
    due = list(invalidations)
    collected = _collected.get()
    if collected is not None and collected.add(due):
        return []
    if due and not transactions.current.defer(due):
        return invalidate_now(due)
    return []


def invalidate_tags(regions: Iterable[Target], tags: Sequence[str]) -> None:
    """Invalidate what has one of ``tags`` in any of ``regions``. Raises ConfigurationError for a
    tag that is no text."""
    for tag in tags:
        if not isinstance(tag, str):
            many = isinstance(tag, list | tuple | set | frozenset)
            mend = "write invalidate_tags(*tags)" if many else "give texts, as the templates make"
            raise ConfigurationError(f"invalidate_tags: {tag!r} is no tag: {mend}")
    if not tags:
        return
    wanted = frozenset(map(tag_scope, tags))
    # Regions that share a store share its generations.
    by_store = {region.store.generation_store: region for region in regions}
    what = f"tags: {', '.join(tags)}"
    invalidate([Invalidation(region, wanted, what) for region in by_store.values()])


def invalidate_all(regions: Iterable[Target]) -> None:
    """Invalidate every entry of ``regions``, at one moment."""
    invalidate(
        Invalidation(region, frozenset((region_scope(region.name),)), "the whole region")
        for region in regions
    )


def invalidate_now(invalidations: Sequence[Invalidation]) -> list[Invalidation]:
    """As `invalidate`, even inside a transaction."""
    left = deliver(invalidations)
    if left:
        transactions.current.undelivered(left)
    return left


def deliver(invalidations: Iterable[Invalidation]) -> list[Invalidation]:
    """Let the stores invalidate. Returns what a store cannot do yet, and keeps. When a signal
    handler's exception ends it, such as a job's time limit, all stores owe all of it."""
    invalidations = list(invalidations)
    try:
        return _deliver(invalidations)
    except BaseException:
        _owe(invalidations)
        raise


def _owe(invalidations: Iterable[Invalidation]) -> None:
    """Let the stores keep what may not have been carried out; twice costs a load."""
    for each in invalidations:
        each.region.store.generation_store.keep_pending(each.scopes)


def _deliver(invalidations: Sequence[Invalidation]) -> list[Invalidation]:
    owed: dict[Store, set[str]] = {}
    for region, scopes, what, function in invalidations:
        region.stats.count("invalidations", function)
        if what:
            region.stats.notes.invalidation(what)
        # Regions that share a store share its generations.
        owed.setdefault(region.store.generation_store, set()).update(scopes)
    # What several hosts use comes first: a server that hangs is waited for before a disk is told,
    # which stores nothing of whatever scope while it waits for others.
    failures = _tell(sorted(owed, key=lambda store: not store.is_shared), owed)
    left = [each for each in invalidations if each.region.store.generation_store in failures]
    for region in dict.fromkeys(each.region for each in left):
        error = failures[region.store.generation_store]
        region.stats.fault(error.kind, "an invalidation waits for the store", error)
    return left


def _tell(
    stores: Sequence[Store], owed: Mapping[Store, Set[str]]
) -> dict[Store, StoreUnavailableError]:
    """Tell each store while the one before it has not come to an end; return which could not do
    it."""
    if not stores:
        return {}
    store, *others = stores
    failures: dict[Store, StoreUnavailableError] = {}
    told = not others

    def tell_others() -> None:
        nonlocal told
        told = True
        failures.update(_tell(others, owed))

    try:
        store.invalidate(owed[store], tell_others if others else None)
    except StoreUnavailableError as error:
        failures[store] = error
    if not told:
        tell_others()
    return failures


# -- bulk changes ------------------------------------------------------------------------------


class Collection:
    """What is invalidated at the end of a bulk change.

    Threads and tasks that begin within the block have it too. Those that outlive the block, and
    the children that are forked within it, whom its end is no end for, invalidate at once.
    """

    def __init__(self) -> None:
        self._kept = transactions.current.collection()
        self._begin(is_open=True)
        forking.tell(self)

    def after_fork(self) -> None:
        self._begin(is_open=False)

    def _begin(self, *, is_open: bool) -> None:
        self._scopes: dict[Target, set[str]] = {}
        self._lock = threading.RLock()  # a signal handler may invalidate too
        self.is_open = is_open
        """Whether this process will come to the end of the block, and has not yet."""

    def add(self, invalidations: Sequence[Invalidation]) -> bool:
        """Collect some more; False when it is too late."""
        if not self.is_open:
            return False
        with self._lock:
            if not self.is_open:
                return False
            if self._kept is not None:
                self._kept.keep(invalidations)
            for each in invalidations:
                self._scopes.setdefault(each.region, set()).update(each.scopes)
        return True

    def pending(self) -> frozenset[str]:
        """Return the scopes that are not invalidated yet."""
        if not self._scopes:
            return frozenset()
        with self._lock:
            return frozenset().union(*self._scopes.values())

    def invalidate(self) -> None:
        """Invalidate what was collected, when no more is."""
        if not self.is_open:
            # In a child that was forked within the block, whose parent does it.
            return
        with self._lock:
            self.is_open = False
        due = [
            Invalidation(region, frozenset(scopes), f"a bulk change, {len(scopes)} at once")
            for region, scopes in self._scopes.items()
        ]
        try:
            left = invalidate(due)
        except BaseException:
            # It may have been interrupted before any store was reached.
            _owe(due)
            raise
        finally:
            # Who outlives the block has used none of it until now.
            self._scopes = {}
        if self._kept is not None:
            self._kept.settle(left)


_collected: ContextVar[Collection | None] = ContextVar("_collected", default=None)


@contextmanager
def deferred_invalidation() -> Iterator[None]:
    """Collect the invalidations of this thread or task until the outermost such block ends,
    however it ends: a bulk change that failed half way has changed something."""
    around = _collected.get()
    if around is not None and around.is_open:
        yield
        return
    collected = Collection()
    token = _collected.set(collected)
    try:
        yield
    finally:
        _collected.reset(token)
        collected.invalidate()


def pending() -> frozenset[str]:
    """Return the scopes that this thread or task is about to invalidate."""
    collected = _collected.get()
    waiting = transactions.current.pending()
    return waiting | collected.pending() if collected else waiting
