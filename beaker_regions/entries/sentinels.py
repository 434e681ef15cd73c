"""A value that means "no value", where None is a value."""

from __future__ import annotations

from typing import Final


class _Missing:
    def __repr__(self) -> str:
        return "<missing>"


MISSING: Final = _Missing()
"""Means that there is no value; None is a value."""
