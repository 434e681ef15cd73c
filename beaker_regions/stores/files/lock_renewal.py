"""Renewal of a lease on memcached: it lasts as long as content arrives."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from beaker_regions.engine.store import Lease
from beaker_regions.entries.content import Resumable
from beaker_regions.entries.entry import Entry
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.stores.servers.leases import ServerLeases

T = TypeVar("T")

RENEWALS = 4
"""How often a lease is renewed in the time that it lasts, while content arrives."""


class Held:
    """A lease that this process has."""

    def __init__(self, leases: ServerLeases, entry: Entry, lease: Lease, seconds: float) -> None:
        self.given = lease
        self.lease = lease
        """The lease after its latest renewal."""
        self.entry = entry
        """The entry that the lease is named by."""
        self._leases = leases
        self._seconds = seconds
        self._renew_at = time.monotonic() + seconds / RENEWALS

    def renewed_by(self, content: Iterable[bytes] | Resumable) -> Iterable[bytes] | Resumable:
        """Return content that renews the lease as it arrives."""
        if isinstance(content, Resumable):
            return _Renewing(content, self)
        return self.renewing(content)

    def renewing(self, chunks: Iterable[T]) -> Iterator[T]:
        """Yield chunks, and renew the lease now and then as they arrive, if the servers can be
        reached."""
        for chunk in chunks:
            if time.monotonic() >= self._renew_at:
                self._renew_at = time.monotonic() + self._seconds / RENEWALS
                with contextlib.suppress(StoreUnavailableError):
                    self.lease = self._leases.renew(self.entry, self.lease, self._seconds)
            yield chunk


class _Renewing(Resumable):
    """Content that renews a lease as it arrives."""

    def __init__(self, content: Resumable, held: Held) -> None:
        self._content = content
        self._held = held

    def pieces(self, have: int) -> Iterator[tuple[int, bytes]]:
        return self._held.renewing(self._content.pieces(have))

    def verify(self, size: int, digest: str) -> None:
        self._content.verify(size, digest)
