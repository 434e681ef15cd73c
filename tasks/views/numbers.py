"""Numbers in what a browser sends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.http import QueryDict

_NUMBER = re.compile(r"-?[0-9]{1,99}")
"""Python refuses to read thousands of digits."""
_MOST = 2**63 - 1
"""As far as databases count."""


def number_in(fields: QueryDict, name: str, otherwise: int) -> int:
    """Return the whole number in a field, the nearest that databases know; ``otherwise`` when
    there is none."""
    value = fields.get(name, "").strip()
    return max(-_MOST, min(_MOST, int(value))) if _NUMBER.fullmatch(value) else otherwise
