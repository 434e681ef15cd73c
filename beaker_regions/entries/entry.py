"""An entry, its scopes, and the result of a lookup."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from beaker_regions.entries.records import ADDRESS_SIZE, Record


class Entry(NamedTuple):
    """Identifies the value of one call, and the scopes that invalidate it."""

    function: str
    """Module and qualified name."""
    address: bytes
    """`ADDRESS_SIZE` bytes: a hash of region, function and arguments."""
    scopes: tuple[str, ...]
    """Names of the generations the entry depends on; its own is the first."""

    @property
    def own_scope(self) -> frozenset[str]:
        """The scope that covers this entry alone."""
        return frozenset(self.scopes[:1])


def address_of(*parts: bytes) -> bytes:
    """Return the hash of ``parts``. It has a fixed size, and other parts have another hash."""
    digest = hashlib.blake2b(digest_size=ADDRESS_SIZE)
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


def entry_scope(address: bytes) -> str:
    return f"e{address.hex()}"


def is_entry_scope(scope: str) -> bool:
    """Whether a scope covers one entry alone."""
    return scope[0] == "e"


def function_scope(region: str, function: str) -> str:
    return f"f{address_of(region.encode(), function.encode()).hex()}"


def region_scope(region: str) -> str:
    return f"r{address_of(region.encode()).hex()}"


def tag_scope(tag: str) -> str:
    return f"t{address_of(tag.encode('utf-8', 'surrogatepass')).hex()}"


def family_scope(prefix: str) -> str:
    """Return the scope of all tags that begin with ``prefix``. No tag has it: it has two parts."""
    return f"t{address_of(b'family', prefix.encode('utf-8', 'surrogatepass')).hex()}"


class Lookup(NamedTuple):
    """The result of one lookup. The store read all of it after the lookup began."""

    record: Record | None
    """The entry's record, authenticated; None if there is none."""
    generations: tuple[bytes | None, ...]
    """The current generations, in the order of the entry's scopes; None for a missing one."""
    refused: bool = False
    """Whether the stored bytes were not a record of this application."""
    tables: Mapping[str, bytes | None] = MappingProxyType({})
    """The current generations of other scopes (`beaker_regions.engine.dependencies`)."""

    @property
    def is_current(self) -> bool:
        """Whether the record was loaded under the generations that are current now."""
        return self.record is not None and self.record.generations == self.generations
