"""From tags to scopes, with the families of tags.

A family is all tags that begin with the same text, such as ``list:``. An entry that has a tag of a
family has the scope of the family, too. So one scope invalidates all entries of a family when there
are too many tags to name each. Without families, nothing is added to an entry.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, Protocol

from beaker_regions.entries.entry import family_scope, tag_scope


class Clearable(Protocol):
    """Results of a function that are remembered: `functools.lru_cache` made it."""

    def cache_clear(self) -> None: ...


_families: tuple[str, ...] = ()
_scopes: dict[str, str] = {}
_clearable: weakref.WeakSet[Any] = weakref.WeakSet()


def tag_families() -> frozenset[str]:
    return frozenset(_families)


def set_tag_families(prefixes: Iterable[str]) -> None:
    """Set the families of tags. All processes that share a store must set the same ones, before
    they read or store entries."""
    global _families, _scopes
    families = tuple(sorted(set(prefixes)))
    if families == _families:
        return
    _scopes = {prefix: family_scope(prefix) for prefix in families}
    _families = families
    for remembered in list(_clearable):
        remembered.cache_clear()


def clear_at_change(remembered: Clearable) -> None:
    """Clear ``remembered``, which holds scopes, whenever the families change."""
    _clearable.add(remembered)


def scopes_of_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the scopes of an entry that has ``tags``."""
    if not _families:
        return tuple([tag_scope(tag) for tag in tags])
    families = _families
    scopes = []
    for tag in tags:
        scopes.append(tag_scope(tag))
        if tag.startswith(families):
            scopes += [scope for prefix, scope in _scopes.items() if tag.startswith(prefix)]
    return tuple(dict.fromkeys(scopes))
