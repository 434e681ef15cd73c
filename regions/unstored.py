"""Entries whose value was loaded here and not stored: not worth it, too large, refused."""

from __future__ import annotations

import math
import time


class Unstored:
    """Which they were, of late."""

    ROOM = 1024

    def __init__(self) -> None:
        self._loaded: dict[bytes, float] = {}

    def add(self, address: bytes) -> None:
        if len(self._loaded) >= self.ROOM:
            self._loaded.clear()
        self._loaded[address] = time.monotonic()

    def recently(self, address: bytes, seconds: float) -> bool:
        """Whether that was within the last ``seconds``."""
        return time.monotonic() - self._loaded.get(address, -math.inf) < seconds
