"""Counters of what a region did, and one log line for what went wrong."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

logger = logging.getLogger("regions")

LOG_INTERVAL = 60.0
"""Seconds during which a fault of one kind in one region is logged once; it is always counted."""


class Stats:
    """Counts events of one region in this process, by name."""

    def __init__(self, region: str) -> None:
        self.region = region
        self._counts: Counter[str] = Counter()
        self._logged: dict[str, float] = {}
        self._lock = threading.Lock()

    def count(self, event: str) -> None:
        with self._lock:
            self._counts[event] += 1

    def fault(self, kind: str, subject: str, error: object) -> None:
        """Count a fault as ``failed.KIND`` and say it, at most once in `LOG_INTERVAL`."""
        now = time.monotonic()
        with self._lock:
            self._counts[f"failed.{kind}"] += 1
            silent = now - self._logged.get(kind, -LOG_INTERVAL) < LOG_INTERVAL
            if not silent:
                self._logged[kind] = now
        if not silent:
            logger.warning("region %s, %s: %s: %s", self.region, subject, kind, error)

    def __getitem__(self, event: str) -> int:
        return self._counts[event]

    def snapshot(self) -> dict[str, int]:
        """Return all counters, by event."""
        with self._lock:
            return dict(self._counts)
