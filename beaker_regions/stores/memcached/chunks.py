"""Payloads larger than a memcached item, in parts.

The record says how large the whole is and what its digest is; so the code that authenticates the
record vouches for the parts too.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from beaker_regions.entries.records import Codec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from beaker_regions.entries.entry import Entry
    from beaker_regions.entries.records import Record

PART_SIZE = 1_000_000
"""Bytes; an item of memcached has at most 1 MiB, its key and header included, unless it was
started with another limit."""
MOST_PARTS = 64
"""More would drive out too much else."""

_WHOLE = struct.Struct("<BQ16s")
"""Of the record's payload: codec, size in bytes, and digest of the whole."""


def split(stem: str, entry: Entry, codec: Codec, payload: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return the payload that stands in the record, and the parts with their keys, which begin
    with ``stem``."""
    head = _WHOLE.pack(codec, len(payload), _digest(payload))
    parts = [payload[at : at + PART_SIZE] for at in range(0, len(payload), PART_SIZE)]
    return head, dict(zip(keys(stem, entry, head), parts, strict=True))


def keys(stem: str, entry: Entry, head: bytes | memoryview) -> list[str]:
    """Return the keys of the parts, in order."""
    _, size, digest = _WHOLE.unpack(head)
    start = f"{stem}{entry.address.hex()}:{digest.hex()}"
    return [f"{start}:{number}" for number in range(-(-size // PART_SIZE))]


def joined(keys: Sequence[str], record: Record, found: Mapping[str, bytes]) -> Record:
    """Return the record with its whole payload. Raises LookupError when a part is gone, or is
    not what was stored."""
    codec, _, digest = _WHOLE.unpack(record.payload)
    payload = b"".join([found[key] for key in keys])
    if _digest(payload) != digest:
        raise LookupError("a part is not what was stored")
    return record._replace(codec=Codec(codec), payload=payload)


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=16).digest()
