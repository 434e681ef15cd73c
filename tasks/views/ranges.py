"""The Range header of a request for bytes (RFC 9110, section 14).

A server may ignore any Range, and then sends the whole. Ours does so where a header names
several ranges, which would be an answer of several parts that hardly a client can read.
"""

from __future__ import annotations

import re

_RANGE = re.compile(r"(?i:bytes)=[ \t,]*(\d{0,99})-(\d{0,99})[ \t,]*", re.ASCII)


class UnsatisfiableRangeError(Exception):
    """A range that begins where there is nothing any more."""


def asked_range(header: str, size: int) -> range | None:
    """Return the positions of the bytes that a Range header asks for, of ``size`` bytes; None for
    all of them. Raises UnsatisfiableRangeError."""
    asked = _RANGE.fullmatch(header)
    if asked is None:
        return None
    first, last = (int(digits) if digits else None for digits in asked.groups())
    if first is None:
        if last is None:
            return None
        if last == 0:
            raise UnsatisfiableRangeError
        # The end of nothing is nothing, which has no positions that could be named.
        return range(max(0, size - last), size) if size else None
    if last is not None and last < first:
        return None
    if first >= size:
        raise UnsatisfiableRangeError
    return range(first, size if last is None else min(last + 1, size))
