"""Invalidations that a store could not carry out yet."""

from __future__ import annotations

import fcntl
import os
import threading
from typing import TYPE_CHECKING

from regions.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


DELIVERING = "delivering"
"""The kind of StoreUnavailable while somebody else delivers."""


class Undelivered:
    """Scopes whose invalidation this process owes. While there are any, the store is not to be
    read."""

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


class Journal(Undelivered):
    """As `Undelivered`, for all processes of a host together, and past their end: in a file, a
    scope a line. What cannot be written there, this process remembers alone.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = str(path)

    def keep(self, scopes: Iterable[str]) -> None:
        scopes = set(scopes)
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            with open(self._path, "a+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                # Once is enough, however long the server is away. The line that a process which
                # died has begun is ended first.
                lines = [f"\n{scope}" for scope in sorted(scopes.difference(file.read().split()))]
                file.write("".join([*lines, "\n"]) if lines else "")
        except OSError:
            super().keep(scopes)

    def deliver(self, change: Callable[[Iterable[str]], None]) -> None:
        """As `Undelivered.deliver`. Raises StoreUnavailable of kind `DELIVERING` while somebody
        else does it, whom nobody waits for: a process may be stopped in the middle."""
        super().deliver(change)
        try:
            if not os.stat(self._path).st_size:
                return
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            with open(self._path, "r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                change(set(file.read().split()))
                file.truncate(0)
        except BlockingIOError as error:
            raise StoreUnavailable(DELIVERING, "invalidations are being delivered to it") from error
        except OSError as error:
            raise StoreUnavailable("server", f"invalidations wait for it: {error}") from error
