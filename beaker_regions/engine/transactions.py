"""Where invalidations wait while a database transaction is open.

This library knows no database. An integration (`beaker_regions.django`) installs what does; without
one every invalidation takes effect at once. A process that uses Django's databases without that is
refused: it would store rows that are rolled back, and nobody would see why.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from beaker_regions.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from beaker_regions.engine.store import Store
    from beaker_regions.telemetry.recorder import Stats


class Target(Protocol):
    """A region, as an invalidation needs it."""

    name: str
    store: Store
    stats: Stats


class Invalidation(NamedTuple):
    """What is not to be found any more as it was."""

    region: Target
    scopes: frozenset[str]
    what: str = ""
    """What to say of it where people look; nothing: it is not worth a look."""
    function: str = ""
    """Whose counters it belongs to; none: the region's."""


class Kept(Protocol):
    """Where collected invalidations are written down until they take effect, which is later than
    the commit of what they are about."""

    def keep(self, invalidations: Sequence[Invalidation]) -> None:
        """Write ``invalidations`` down in the open transaction, if there is one."""

    def settle(self, left: Sequence[Invalidation]) -> None:
        """Strike out what was written down: it has taken effect, but for ``left``."""


class Transactions(Protocol):
    """What an integration tells of the calling thread's database transactions."""

    def carry_out(self, step: Callable[[], Any]) -> Awaitable[Any] | Callable[[], Any]:
        """Return what does a step, which asks for transactions, on behalf of the coroutine that is
        running: what is to be awaited, or is to be called in any thread."""

    def active(self) -> bool:
        """Whether a transaction is open: what it reads may be uncommitted, or of an old
        snapshot, and so is not to be stored for others."""

    def pending(self) -> frozenset[str]:
        """The scopes whose invalidation waits for a commit here."""

    def defer(self, invalidations: Sequence[Invalidation]) -> bool:
        """Deliver ``invalidations`` when the transaction commits, at once with all others of it,
        and never if it rolls back. Returns False, and does nothing, when none is open."""

    def collection(self) -> Kept | None:
        """Return where what is collected from now on is written down; None: nowhere."""

    def is_caught_up(self) -> bool:
        """Whether this process knows of what others have invalidated and could not deliver; if
        not, no store that other hosts use is to be read."""

    def undelivered(self, invalidations: Sequence[Invalidation]) -> None:
        """Be told of invalidations outside of any transaction that a store could not carry out,
        and keeps: others may be able to, and are not to read what they cover before."""


class NoTransactions:
    """Of an application without a database."""

    def carry_out(self, step: Callable[[], Any]) -> Awaitable[Any] | Callable[[], Any]:
        return step

    def active(self) -> bool:
        return False

    def pending(self) -> frozenset[str]:
        return frozenset()

    def defer(self, invalidations: Sequence[Invalidation]) -> bool:
        return False

    def collection(self) -> Kept | None:
        return None

    def is_caught_up(self) -> bool:
        return True

    def undelivered(self, invalidations: Sequence[Invalidation]) -> None:
        pass


class Unknown(NoTransactions):
    """As `NoTransactions`, until it turns out that the process uses Django's databases."""

    def active(self) -> bool:
        refuse_django()
        return False

    def defer(self, invalidations: Sequence[Invalidation]) -> bool:
        refuse_django()
        return False


current: Transactions = Unknown()


def refuse_django() -> None:
    """Raise ConfigurationError if the process uses Django's databases and nothing tells of their
    transactions. It is asked before a value is loaded or invalidated, not at a hit."""
    apps = getattr(sys.modules.get("django.apps"), "apps", None)
    # The integration is installed while the applications become ready.
    if not isinstance(current, Unknown) or apps is None or not apps.ready:
        return
    databases = sys.modules["django.conf"].settings.DATABASES.values()
    if all(each.get("ENGINE", _DUMMY) in ("", _DUMMY) for each in databases):
        return
    raise ConfigurationError(
        "Django is set up without the regions' application, so what a transaction rolls back "
        'would be stored: add "beaker_regions.django" to INSTALLED_APPS. A process that has '
        "Django, and reads no database through it: "
        "beaker_regions.engine.transactions.install(NoTransactions())"
    )


_DUMMY = "django.db.backends.dummy"


def install(transactions: Transactions) -> None:
    """Make ``transactions`` the ones that every region of this process asks."""
    global current
    current = transactions
