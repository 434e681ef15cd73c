"""ATOMIC_REQUESTS: the transactions around views whose pages are stored.

Django opens such a transaction around the whole view. A value that is loaded in a transaction is
not stored, so no page would be. A decorated view therefore opens the transaction itself, around
each call of the view: the generations are read before the transaction begins, and the page is
stored after it has ended.

A page that renders fragments in this transaction is not stored: which fragments it contains is
known only then, and their generations would have to be read before the transaction. Decorate such
a view with `django.db.transaction.non_atomic_requests`; its page and fragments are then stored.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from django.db import connections, transaction
from django.http import HttpRequest

from beaker_regions.django.pages.keys import Visit

_NAME = "_non_atomic_requests"
"""The attribute of a view that holds the databases on which Django opens no transaction."""


class AllDatabases(set[str]):
    """Contains every alias, so that Django opens no transaction. As a set it holds the aliases
    that the application itself excluded with `django.db.transaction.non_atomic_requests`."""

    def __contains__(self, alias: object) -> bool:
        return True


def take_over(view: Callable[..., Any]) -> None:
    """Keep Django from opening transactions around ``view``: it calls `call_in_transaction`."""
    view.__dict__[_NAME] = AllDatabases(getattr(view, _NAME, ()))


def call_in_transaction(visit: Visit) -> tuple[Any, bool]:
    """Call a visit's view in the transactions that Django would open. Returns the response, and
    whether one of them was rolled back."""
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
    excluded = getattr(match and match.func, _NAME, None)
    # Without a match, or inside a view that is not taken over, Django has opened them itself.
    if not isinstance(excluded, AllDatabases) or getattr(request, "_regions_is_atomic", False):
        return []
    named = set(iter(excluded))
    return [
        alias
        for alias in reversed(list(connections.settings))
        if connections.settings[alias]["ATOMIC_REQUESTS"] and alias not in named
    ]
