"""A set whose members expire."""

from __future__ import annotations

import math
import time


class ExpiringSet:
    """Addresses of entries, each for some seconds."""

    ROOM = 1024

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}

    def add(self, address: bytes, seconds: float) -> None:
        """Add an entry for ``seconds``. If the set is full, it is emptied first."""
        if len(self._until) >= self.ROOM:
            self._until.clear()
        self._until[address] = time.monotonic() + seconds

    def discard(self, address: bytes) -> None:
        self._until.pop(address, None)

    def __contains__(self, address: bytes) -> bool:
        return time.monotonic() < self._until.get(address, -math.inf)
