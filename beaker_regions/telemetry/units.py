"""Numbers written for people: a duration, a time that was measured, a size, a ratio."""

from __future__ import annotations

import math


def duration(seconds: float) -> str:
    """Return an expiry or an age, such as "5 d" or "1.5 h"; "never" for infinity."""
    if math.isinf(seconds):
        return "never"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def age(seconds: float) -> str:
    """Return an age in whole units, such as "3 min"."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def took(seconds: float) -> str:
    """Return a measured time, such as "1.5 s", "5.1 ms" or "40 µs"."""
    if seconds >= 1 or seconds == 0:
        return duration(seconds)
    return f"{seconds * 1e3:.1f} ms" if seconds >= 0.001 else f"{seconds * 1e6:.0f} µs"


def size(number: float) -> str:
    """Return a number of bytes, such as "3.4 MB"."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TB"


def percent(ratio: float) -> str:
    """Return a ratio in percent; an empty text if it is not known (NaN)."""
    return "" if math.isnan(ratio) else f"{ratio:.1%}"
