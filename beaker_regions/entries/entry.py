"""What is looked up: an entry, its scopes, and what one look at it saw."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from beaker_regions.entries.records import ADDRESS_SIZE

if TYPE_CHECKING:
    from beaker_regions.entries.records import Record


class Entry(NamedTuple):
    """The place of one call's value: which function, which arguments, what invalidates it."""

    function: str
    """Module and qualified name."""
    address: bytes
    """`ADDRESS_SIZE` bytes that stand for region, function and arguments."""
    scopes: tuple[str, ...]
    """Names of the generations the entry depends on; its own is the first."""

    @property
    def own_scope(self) -> frozenset[str]:
        """The scope that covers this entry alone."""
        return frozenset(self.scopes[:1])


def address_of(*parts: bytes) -> bytes:
    """Return the address that stands for ``parts`` (unambiguous, fixed size)."""
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


class Lookup(NamedTuple):
    """What one look into the store saw, all of it at or after the look began."""

    record: Record | None
    """The entry's record, authenticated; None where there is none."""
    generations: tuple[bytes | None, ...]
    """The current ones, in the order of the entry's scopes; None where there is none."""
    refused: bool = False
    """Whether something was there that is no record of this application."""

    @property
    def is_current(self) -> bool:
        """Whether the record was loaded under the generations that still hold."""
        return self.record is not None and self.record.generations == self.generations
