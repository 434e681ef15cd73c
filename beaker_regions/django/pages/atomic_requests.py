"""The transactions that ATOMIC_REQUESTS asks for, around views whose pages are kept.

Django opens such a transaction around the whole view. Nothing that is loaded in a transaction is
stored, so no page would be. These views open it themselves, around each call of the view: the
generations are read before it begins, and the page is stored after it has ended.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

    from beaker_regions.django.pages.keys import Visit

_NAME = "_non_atomic_requests"
"""The attribute of a view in which Django looks for the databases to leave alone."""


class Taken(set[str]):
    """It tells Django to open no transaction on any database. As a set it has the databases that
    the application itself named, with `django.db.transaction.non_atomic_requests`."""

    def __contains__(self, alias: object) -> bool:
        return True


def take_over(view: Callable[..., Any]) -> None:
    """Have ``view`` open its transactions itself; it calls `call_in_transaction` for that."""
    view.__dict__[_NAME] = Taken(getattr(view, _NAME, ()))


def call_in_transaction(visit: Visit) -> tuple[Any, bool]:
    """Call the view of a visit as Django would. Returns the response, and whether what was
    written to a database was rolled back."""
    request: Any = visit.request
    aliases = _aliases(request)
    if not aliases:
        return visit.call(), False
    request._regions_is_atomic = True
    try:
        with ExitStack() as transactions:
            for alias in aliases:
                transactions.enter_context(transaction.atomic(using=alias))
            response = visit.call()
            return response, any(connections[alias].needs_rollback for alias in aliases)
    finally:
        request._regions_is_atomic = False


def _aliases(request: HttpRequest) -> list[str]:
    """Return the databases on which to open a transaction, in Django's order."""
    match = request.resolver_match
    taken = getattr(match and match.func, _NAME, None)
    # Without a match, or below a view that is not taken over, Django has done what is to be done.
    if not isinstance(taken, Taken) or getattr(request, "_regions_is_atomic", False):
        return []
    excluded = set(iter(taken))
    return [
        alias
        for alias in reversed(list(connections.settings))
        if connections.settings[alias]["ATOMIC_REQUESTS"] and alias not in excluded
    ]
