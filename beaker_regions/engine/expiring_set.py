"""Entries of which a process knows something that holds for a while."""

from __future__ import annotations

import math
import time


class ExpiringSet:
    """Which they are."""

    ROOM = 1024

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}

    def add(self, address: bytes, seconds: float) -> None:
        """Remember an entry for ``seconds``, or less where there are too many."""
        if len(self._until) >= self.ROOM:
            self._until.clear()
        self._until[address] = time.monotonic() + seconds

    def discard(self, address: bytes) -> None:
        self._until.pop(address, None)

    def __contains__(self, address: bytes) -> bool:
        return time.monotonic() < self._until.get(address, -math.inf)
