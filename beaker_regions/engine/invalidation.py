"""Invalidations: of any scopes, in any regions, as if all at one moment.

A value may be made of another region's value: a page of what a function returns, a function's
result of an imported file. So the stores of several regions are invalidated one inside the other
(``during`` of `beaker_regions.engine.store.Store.invalidate`). A load that begins after the first
store was invalidated is not stored before all of them are.

An invalidation waits for the end of a bulk change (`deferred_invalidation`), then for the commit of
the open database transaction. This library knows no database. An integration, such as
`beaker_regions.django`, passes its `Transactions` to `set_transactions`. Without one, every
invalidation takes effect at once. If a process uses Django's databases without the integration, its
loads and invalidations are refused: it would store rows that are rolled back later.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from beaker_regions.engine.store import Store
from beaker_regions.engine.transactions import InvalidatedRegion, Invalidation, InvalidationLog
from beaker_regions.entries.entry import family_scope, region_scope, tag_scope
from beaker_regions.errors import ConfigurationError, StoreUnavailableError
from beaker_regions.runtime import forking
from beaker_regions.telemetry.recorder import Stats

# -- transactions --------------------------------------------------------------------------------


class Transactions:
    """The calling thread's database transactions, as an integration knows them. These are none."""

    def carry_out(self, step: Callable[[], Any]) -> Awaitable[Any] | Callable[[], Any]:
        """Return what does a step for the running coroutine: an awaitable, or a function that any
        thread may call. Within the step, the coroutine's transactions are the current ones."""
        return step

    def active(self) -> bool:
        """Whether a transaction is open. It may read uncommitted rows, or an old snapshot, so a
        value that is loaded in it must not be stored."""
        return False

    def pending(self) -> frozenset[str]:
        """Return the scopes whose invalidation waits for a commit here."""
        return frozenset()

    def defer(self, invalidations: Sequence[Invalidation]) -> bool:
        """Apply ``invalidations`` when the transaction commits, all of one transaction at once, and
        drop them if it rolls back. Returns False, and does nothing, if no transaction is open."""
        return False

    def invalidation_log(self) -> InvalidationLog | None:
        """Return the log for invalidations that a bulk change collects from now on, if any."""
        return None

    def is_caught_up(self) -> bool:
        """Whether this process knows all invalidations that others could not apply. If not, it must
        not read a store that other hosts use."""
        return True

    def may_look_up_in_loop(self) -> bool:
        """Whether `is_caught_up` is true and `pending` complete in this thread, which runs the
        coroutine's event loop, without waiting for a database or another thread."""
        return True

    def share_pending(self, invalidations: Sequence[Invalidation]) -> None:
        """Tell other processes of invalidations that a store keeps as pending, and that belong to
        no transaction: others may be able to apply them, and must not read their entries before."""


class NoTransactions(Transactions):
    """The transactions of an application without a database."""


class UnknownTransactions(NoTransactions):
    """As `NoTransactions`, until it turns out that the process uses Django's databases."""

    def active(self) -> bool:
        refuse_django()
        return False

    def defer(self, invalidations: Sequence[Invalidation]) -> bool:
        refuse_django()
        return False


transactions: Transactions = UnknownTransactions()
"""The transactions that every region of this process asks."""


def set_transactions(new: Transactions) -> None:
    """Set the transactions that every region of this process asks."""
    global transactions
    transactions = new


def refuse_django() -> None:
    """Raise ConfigurationError if the process uses Django's databases without the integration. It
    is called before a value is loaded or invalidated, not at a hit."""
    apps = getattr(sys.modules.get("django.apps"), "apps", None)
    # The integration sets its transactions while Django's applications become ready.
    if not isinstance(transactions, UnknownTransactions) or apps is None or not apps.ready:
        return
    databases = sys.modules["django.conf"].settings.DATABASES.values()
    no_database = "", "django.db.backends.dummy"
    if all(each.get("ENGINE", "") in no_database for each in databases):
        return
    raise ConfigurationError(
        "Django is set up without the application of beaker_regions, so rows that a transaction "
        'rolls back would be stored: add "beaker_regions.django" to INSTALLED_APPS. If this '
        "process has Django, and reads no database through it, call "
        "beaker_regions.set_transactions(beaker_regions.NoTransactions())"
    )


# -- invalidating --------------------------------------------------------------------------------

latest: object = object()
"""A new object after each invalidation by this process, in any region."""


def invalidate(invalidations: Iterable[Invalidation]) -> list[Invalidation]:
    """Invalidate at the end of the bulk change, at the commit of the transaction, or now. Returns
    the invalidations that a store cannot apply yet and keeps as pending."""
    global latest
    latest = object()
    due = list(invalidations)
    bulk_change = _bulk_change.get()
    if bulk_change is not None and bulk_change.add(due):
        return []
    if due and not transactions.defer(due):
        return invalidate_now(due)
    return []


WHOLE_REGION = "the whole region"
TAGS = "tags: "
"""Before the tags, in the description of an invalidation."""


def invalidate_tags(
    regions: Iterable[InvalidatedRegion],
    tags: Sequence[str],
    families: Sequence[str] = (),
    cause: str = "",
) -> None:
    """Invalidate the entries of ``regions`` that have one of ``tags``, or a tag of one of
    ``families``. ``cause``: what the event log says of it. Raises ConfigurationError for a tag that
    is not a string."""
    for tag in tags:
        if not isinstance(tag, str):
            many = isinstance(tag, list | tuple | set | frozenset)
            mend = "write invalidate_tags(*tags)" if many else "pass strings, as tags= makes them"
            raise ConfigurationError(f"invalidate_tags: {tag!r} is not a tag: {mend}")
    scopes = frozenset((*map(tag_scope, tags), *map(family_scope, families)))
    if not scopes:
        return
    regions = list(regions)
    # Regions that share a store share its generations.
    by_store = {region.store.generation_store: region for region in regions}
    named = ", ".join((*tags, *(f"{family}*" for family in families)))
    what = f"{cause}{'; ' if cause else ''}{TAGS}{named}"
    users = frozenset(
        (region.stats, function)
        for region in regions
        for function in region.stats.tag_users.of(tags, families)
    )
    # The functions of all regions are counted once, with one of the stores.
    due = [Invalidation(region, scopes, what) for region in by_store.values()]
    invalidate([due[0]._replace(users=users), *due[1:]] if due else [])


def invalidate_all(regions: Iterable[InvalidatedRegion]) -> None:
    """Invalidate every entry of ``regions``, at one moment."""
    invalidate(
        Invalidation(region, frozenset((region_scope(region.name),)), WHOLE_REGION)
        for region in regions
    )


def invalidate_now(invalidations: Sequence[Invalidation]) -> list[Invalidation]:
    """As `invalidate`, even inside a transaction."""
    pending = apply(invalidations)
    if pending:
        transactions.share_pending(pending)
    return pending


def apply(invalidations: Iterable[Invalidation]) -> list[Invalidation]:
    """Let the stores invalidate. Returns the invalidations that a store cannot apply yet and keeps
    as pending. If a signal handler raises in between, such as a job's time limit, every store keeps
    all of its invalidations as pending."""
    invalidations = list(invalidations)
    try:
        return _apply(invalidations)
    except BaseException:
        _keep_pending(invalidations)
        raise


def _keep_pending(invalidations: Iterable[Invalidation]) -> None:
    """Let the stores keep invalidations that they may not have applied. If they did apply one, the
    second time costs a load and nothing else."""
    for each in invalidations:
        each.region.store.generation_store.keep_pending(each.scopes)


def _apply(invalidations: Sequence[Invalidation]) -> list[Invalidation]:
    scopes_by_store: dict[Store, set[str]] = {}
    for region, scopes, what, function, users in invalidations:
        region.stats.count("invalidations", function)
        for stats, user in users:
            stats.count("tag_invalidations", user)
        if what:
            region.stats.event_log.invalidation(what)
        # Regions that share a store share its generations.
        scopes_by_store.setdefault(region.store.generation_store, set()).update(scopes)
    # Stores that other hosts use come first. A server may not answer for a while; a disk that was
    # invalidated before it would store nothing, of any scope, during that time.
    stores = sorted(scopes_by_store, key=lambda store: not store.is_shared)
    failures = _invalidate_stores(stores, scopes_by_store)
    pending = [each for each in invalidations if each.region.store.generation_store in failures]
    for region in dict.fromkeys(each.region for each in pending):
        error = failures[region.store.generation_store]
        region.stats.fault(error.kind, "an invalidation that waits for the store", error)
    return pending


def _invalidate_stores(
    stores: Sequence[Store], scopes: Mapping[Store, Set[str]]
) -> dict[Store, StoreUnavailableError]:
    """Invalidate each store inside the invalidation of the one before it; return those that
    failed."""
    if not stores:
        return {}
    store, *others = stores
    failures: dict[Store, StoreUnavailableError] = {}
    are_others_done = not others

    def invalidate_others() -> None:
        nonlocal are_others_done
        are_others_done = True
        failures.update(_invalidate_stores(others, scopes))

    try:
        store.invalidate(scopes[store], invalidate_others if others else None)
    except StoreUnavailableError as error:
        failures[store] = error
    if not are_others_done:
        invalidate_others()
    return failures


# -- bulk changes --------------------------------------------------------------------------------


class BulkChange:
    """Collects invalidations, and applies them at its end.

    Threads and tasks that begin within the block share it. If they outlive the block, they
    invalidate at once from then on. A child that is forked within the block invalidates at once,
    too: it never comes to the block's end.
    """

    def __init__(self) -> None:
        self._log = transactions.invalidation_log()
        self._begin(is_open=True)
        forking.register(self)

    def after_fork(self) -> None:
        self._begin(is_open=False)

    def _begin(self, *, is_open: bool) -> None:
        self._scopes: dict[InvalidatedRegion, set[str]] = {}
        self._users: dict[InvalidatedRegion, set[tuple[Stats, str]]] = {}
        self._lock = threading.RLock()  # a signal handler may invalidate too
        self.is_open = is_open
        """Whether this process has not yet come to the end of the block, and will."""

    def add(self, invalidations: Sequence[Invalidation]) -> bool:
        """Collect some more; False if the block has ended."""
        if not self.is_open:
            return False
        with self._lock:
            if not self.is_open:
                return False
            if self._log is not None:
                self._log.keep(invalidations)
            for each in invalidations:
                self._scopes.setdefault(each.region, set()).update(each.scopes)
                self._users.setdefault(each.region, set()).update(each.users)
        return True

    def pending(self) -> frozenset[str]:
        """Return the scopes that are not invalidated yet."""
        if not self._scopes:
            return frozenset()
        with self._lock:
            return frozenset().union(*self._scopes.values())

    def end(self) -> None:
        """Invalidate the collected scopes, and collect no more."""
        if not self.is_open:
            # This is a child that was forked within the block. Its parent invalidates.
            return
        with self._lock:
            self.is_open = False
        due = [
            Invalidation(
                region,
                frozenset(scopes),
                f"a bulk change, {len(scopes)} at once",
                users=frozenset(self._users[region]),
            )
            for region, scopes in self._scopes.items()
        ]
        try:
            pending = invalidate(due)
        except BaseException:
            # It may have been interrupted before it reached any store.
            _keep_pending(due)
            raise
        finally:
            # Until now, threads that outlive the block used no entry of these scopes.
            self._scopes = {}
        if self._log is not None:
            self._log.settle(pending)


_bulk_change: ContextVar[BulkChange | None] = ContextVar("_bulk_change", default=None)


@contextmanager
def deferred_invalidation() -> Iterator[None]:
    """Collect the invalidations of this thread or task until the outermost such block ends. They
    are applied even if it ends with an exception: a bulk change that failed half way has changed
    something."""
    around = _bulk_change.get()
    if around is not None and around.is_open:
        yield
        return
    bulk_change = BulkChange()
    token = _bulk_change.set(bulk_change)
    try:
        yield
    finally:
        _bulk_change.reset(token)
        bulk_change.end()


def pending() -> frozenset[str]:
    """Return the scopes that this thread or task is about to invalidate."""
    bulk_change = _bulk_change.get()
    uncommitted = transactions.pending()
    return uncommitted | bulk_change.pending() if bulk_change else uncommitted
