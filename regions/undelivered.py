"""Invalidations that a store could not carry out yet."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Undelivered:
    """Scopes whose invalidation is owed. While there are any, the store is not to be read."""

    def __init__(self) -> None:
        self._owed: dict[str, object] = {}
        self._lock = threading.Lock()

    def keep(self, scopes: Iterable[str]) -> None:
        """Remember to invalidate ``scopes``."""
        with self._lock:
            # A token each time: an invalidation that comes while the same scope is being
            # delivered is owed again, because a load may have begun in between.
            self._owed.update(dict.fromkeys(scopes, object()))

    def deliver(self, change: Callable[[Iterable[str]], None]) -> None:
        """Invalidate what is owed with ``change``; what that raises, this raises, and owes all
        of it still."""
        if not self._owed:
            return
        with self._lock:
            owed = dict(self._owed)
        change(owed)
        with self._lock:
            for scope, token in owed.items():
                if self._owed.get(scope) is token:
                    del self._owed[scope]
