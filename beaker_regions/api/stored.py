"""Methods of a cached function that find stored values, and never load."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

from beaker_regions.api.cached import Cached, arguments
from beaker_regions.entries.sentinels import MISSING

P = ParamSpec("P")
R = TypeVar("R")


class StoredValue(NamedTuple):
    """The stored value of a call: its times and its size."""

    stored_at: float
    """Seconds since the epoch."""
    expires_in: float
    """Seconds; infinity: never."""
    load_seconds: float
    """How long its load took."""
    size: int
    """Bytes of its record; of content that has a file of its own, without it."""


class Stored(Cached[P], Generic[P, R]):
    """The methods of a cached function that never load."""

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Return the stored value, and never load.

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            The value, or None if a call would load.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.

        Example::

            if tasks_of.peek(1) is None: ...
        """
        value = self._peek(args, kwargs)
        return None if value is MISSING else value

    def peek_stale(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Return the stored value even if it has expired, and never load.

        A function of a region of files may return it: if the origin says that nothing has changed,
        the content is stored for another period, without a transfer.

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            The value, or None if there is none, or it was invalidated.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.

        Example::

            @cache.region("files")
            def export(month: str) -> Path | CachedFile:
                kept = export.peek_stale(month)
                return kept if kept is not None and is_unchanged(month) else write(month)
        """
        if not self.region.enabled:
            return None
        entry = self._entry(self._prefix + args, kwargs)
        value = self.region.value_if_younger(entry, self._lookup(entry), math.inf)
        return None if value is MISSING else value

    def stored_digest(self, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Return the SHA-256 of stored content, without opening it.

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            The digest in hexadecimal, or None if a call would load, or returns no content.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.

        Example::

            if export.stored_digest("2026-10") is None: ...
        """
        if not self.region.enabled or self._dependents is not None:
            return None
        entry = self._entry(self._prefix + args, kwargs)
        return self.region.digest_if_fresh(entry, self._lookup(entry), self._policy)

    def stored_digests(self, calls: Iterable[Any]) -> list[str | None]:
        """As `stored_digest`, for many calls. It takes less time for each.

        Args:
            calls: The calls. Each is the tuple of its arguments, or its only argument if that is
                not a tuple.

        Returns:
            One digest for each call, or None, in their order.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.

        Example::

            missing = [m for m, d in zip(months, export.stored_digests(months)) if d is None]
        """
        given = [self._prefix + arguments(call) for call in calls]
        if not self.region.enabled or self._dependents is not None:
            return [None] * len(given)
        entries = [self._make_entry(call, {}) for call in given]
        return [
            self.region.digest_if_fresh(entry, lookup, self._policy)
            for entry, lookup in zip(entries, self._lookup_many(entries), strict=True)
        ]

    def have_parts(self, calls: Iterable[Any]) -> list[bool]:
        """Return for each call whether a load would continue a part of content that has arrived.

        Args:
            calls: The calls. Each is the tuple of its arguments, or its only argument if that is
                not a tuple.

        Returns:
            Whether there is such a part, for each call in their order. It is content that can be
            resumed (`Resumable`), whose transfer was interrupted or goes on.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.

        Example::

            begun = [m for m, has in zip(months, export.have_parts(months)) if has]
        """
        given = [self._prefix + arguments(call) for call in calls]
        parts = self.region.store.parts() if self.region.enabled else frozenset()
        return [bool(parts) and self._make_entry(call, {}).address in parts for call in given]

    def stored(self, *args: P.args, **kwargs: P.kwargs) -> StoredValue | None:
        """Return what is stored for a call, without its value, and never load.

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            When it was stored, when it expires, how long its load took and its size; None if
            nothing is stored that may be served.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.

        Example::

            tasks_of.stored(1)
        """
        if not self.region.enabled:
            return None
        lookup = self.region.lookup(self._entry(self._prefix + args, kwargs))
        if lookup is None or lookup.record is None or not lookup.is_current:
            return None
        record = lookup.record
        left = record.stored_at + self._policy.expire - time.time()
        if left <= 0:
            return None
        return StoredValue(record.stored_at, left, record.load_seconds, len(record.payload))
