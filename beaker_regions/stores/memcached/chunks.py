"""Payloads larger than a memcached item, stored in parts.

The record contains the size and the digest of the whole payload. So the signature of the record
also authenticates the parts.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence

from beaker_regions.entries.entry import Entry
from beaker_regions.entries.records import Codec, Record

PART_SIZE = 1_000_000
"""Bytes; an item of memcached has at most 1 MiB, its key and header included, unless it was
started with another limit."""
MOST_PARTS = 64
"""More would evict too many other items."""

_WHOLE = struct.Struct("<BQ16s")
"""The record's payload: codec, size in bytes, and digest of the whole payload."""


def split(stem: str, entry: Entry, codec: Codec, payload: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return the payload of the record, and the parts by their keys. The keys begin with
    ``stem``."""
    head = _WHOLE.pack(codec, len(payload), _digest(payload))
    parts = [payload[at : at + PART_SIZE] for at in range(0, len(payload), PART_SIZE)]
    return head, dict(zip(keys(stem, entry, head), parts, strict=True))


def keys(stem: str, entry: Entry, head: bytes | memoryview) -> list[str]:
    """Return the keys of the parts, in order."""
    _, size, digest = _WHOLE.unpack(head)
    start = f"{stem}{entry.address.hex()}:{digest.hex()}"
    return [f"{start}:{number}" for number in range(-(-size // PART_SIZE))]


def joined(keys: Sequence[str], record: Record, found: Mapping[str, bytes]) -> Record:
    """Return the record with its whole payload. Raises LookupError if a part is missing or
    was changed."""
    codec, _, digest = _WHOLE.unpack(record.payload)
    payload = b"".join([found[key] for key in keys])
    if _digest(payload) != digest:
        raise LookupError("a part is not what was stored")
    return record._replace(codec=Codec(codec), payload=payload)


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=16).digest()
