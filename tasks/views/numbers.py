"""Numbers in the fields that a browser sends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.http import QueryDict

_NUMBER = re.compile(r"-?[0-9]{1,99}")
"""At most 99 digits: Python refuses to convert thousands of them."""
_LARGEST = 2**63 - 1
"""The largest integer of databases."""


def number_in(fields: QueryDict, name: str, default: int) -> int:
    """Return the whole number in a field, limited to the integers of databases; or ``default`` if
    the field has none."""
    value = fields.get(name, "").strip()
    return max(-_LARGEST, min(_LARGEST, int(value))) if _NUMBER.fullmatch(value) else default
