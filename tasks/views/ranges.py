"""The Range header of a request for bytes (RFC 9110, section 14).

A server may ignore a Range and send the whole content. This one does so if a header names several
ranges: the answer would have several parts, which few clients can read.
"""

from __future__ import annotations

import re

_RANGE = re.compile(r"(?i:bytes)=[ \t,]*(\d{0,99})-(\d{0,99})[ \t,]*", re.ASCII)


class UnsatisfiableRangeError(Exception):
    """A range that begins after the end of the content."""


def requested_range(header: str, size: int) -> range | None:
    """Return the positions of the bytes that a Range header requests, of ``size`` bytes. None: all
    of them. Raises UnsatisfiableRangeError."""
    match = _RANGE.fullmatch(header)
    if match is None:
        return None
    first, last = (int(digits) if digits else None for digits in match.groups())
    if first is None:
        if last is None:
            return None
        if last == 0:
            raise UnsatisfiableRangeError
        # Empty content has no positions, so its whole is sent.
        return range(max(0, size - last), size) if size else None
    if last is not None and last < first:
        return None
    if first >= size:
        raise UnsatisfiableRangeError
    return range(first, size if last is None else min(last + 1, size))
