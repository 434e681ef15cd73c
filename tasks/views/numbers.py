"""Numbers in what a browser sends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.http import QueryDict

_NUMBER = re.compile(r"-?[0-9]{1,18}")
"""As far as databases count: Python refuses to read thousands of digits."""


def number_in(fields: QueryDict, name: str, otherwise: int) -> int:
    """Return the whole number in a field; ``otherwise`` when there is none."""
    value = fields.get(name, "").strip()
    return int(value) if _NUMBER.fullmatch(value) else otherwise
