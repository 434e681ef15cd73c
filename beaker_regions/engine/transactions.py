"""The database transactions that invalidations wait for, as an integration describes them.

This library knows no database. An integration, such as `beaker_regions.django`, implements
`Transactions` and passes them to `beaker_regions.engine.invalidation.set_transactions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from beaker_regions.engine.store import Store
    from beaker_regions.telemetry.recorder import Stats


class InvalidatedRegion(Protocol):
    """The part of a region that an invalidation needs."""

    name: str
    store: Store
    stats: Stats


class Invalidation(NamedTuple):
    """Scopes of one region that are invalidated."""

    region: InvalidatedRegion
    scopes: frozenset[str]
    what: str = ""
    """A description for the event log; empty: it is not logged."""
    function: str = ""
    """The function whose counters count it; empty: the region's own counters."""
    users: frozenset[tuple[Stats, str]] = frozenset()
    """The functions that have one of the invalidated tags, with the counters of their regions."""


class InvalidationLog(Protocol):
    """Keeps collected invalidations safe: they take effect after the commit of the changes that
    they are about, and the process may be killed in between."""

    def keep(self, invalidations: Sequence[Invalidation]) -> None:
        """Write ``invalidations`` in the open transaction, if there is one."""

    def settle(self, pending: Sequence[Invalidation]) -> None:
        """Delete the written invalidations, which were applied, except for ``pending``."""


class Transactions(Protocol):
    """The calling thread's database transactions, as an integration knows them."""

    def carry_out(self, step: Callable[[], Any]) -> Awaitable[Any] | Callable[[], Any]:
        """Return what does a step for the running coroutine: an awaitable, or a function that any
        thread may call. Within the step, the coroutine's transactions are the current ones."""

    def active(self) -> bool:
        """Whether a transaction is open. It may read uncommitted rows, or an old snapshot, so a
        value that is loaded in it must not be stored."""

    def pending(self) -> frozenset[str]:
        """Return the scopes whose invalidation waits for a commit here."""

    def defer(self, invalidations: Sequence[Invalidation]) -> bool:
        """Apply ``invalidations`` when the transaction commits, all of one transaction at once, and
        drop them if it rolls back. Returns False, and does nothing, if no transaction is open."""

    def invalidation_log(self) -> InvalidationLog | None:
        """Return the log for invalidations that a bulk change collects from now on, if any."""

    def is_caught_up(self) -> bool:
        """Whether this process knows all invalidations that others could not apply. If not, it must
        not read a store that other hosts use."""

    def may_look_up_in_loop(self) -> bool:
        """Whether `is_caught_up` is true and `pending` complete in this thread, which runs the
        coroutine's event loop, without waiting for a database or another thread."""

    def share_pending(self, invalidations: Sequence[Invalidation]) -> None:
        """Tell other processes of invalidations that a store keeps as pending, and that belong to
        no transaction: others may be able to apply them, and must not read their entries before."""
