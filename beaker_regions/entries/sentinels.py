"""What stands for no value where None is one."""

from __future__ import annotations

from typing import Final


class _Missing:
    def __repr__(self) -> str:
        return "<missing>"


MISSING: Final = _Missing()
"""Stands for no value; None is a value."""
