"""Values that mean "no value", where None is a value."""

from __future__ import annotations

from typing import Final


class _Sentinel:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<{self._name}>"


MISSING: Final = _Sentinel("missing")
"""Means that there is no value; None is a value."""
UNKNOWN: Final = _Sentinel("unknown")
"""Means that it takes a thread to find out the value."""
