"""Memcached's form of a time to live."""

from __future__ import annotations

import math
import time

_MONTH = 30 * 24 * 60 * 60
"""Seconds; memcached reads a longer time to live as a date (protocol.txt, "Expiration times")."""
_LAST_DATE = 2**31 - 1
"""The last date that memcached understands; an item with a longer life never expires."""


def exptime_of(seconds: float) -> int:
    """Return memcached's form of a time to live. The server counts whole seconds, and an item may
    expire up to one second early."""
    if math.isinf(seconds):
        return 0
    whole = math.ceil(seconds) + 1
    if whole <= _MONTH:
        return whole
    date = int(time.time()) + whole
    return date if date <= _LAST_DATE else 0
