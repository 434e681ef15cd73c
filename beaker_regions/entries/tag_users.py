"""The tags of a region's functions, so that an invalidation of a tag counts for them.

A tag is known by its beginning. Of a template, such as ``list:{list_id}``, that is the text before
the first field. Of a tag that a function of the application makes, it is learned from the tags
that were made: the text up to the colon, or the whole tag if it has none.
"""

from __future__ import annotations

from collections.abc import Iterable

LEARNED = 64
"""Tags of a function that are learned, at most: their number may be endless."""


class TagUsers:
    """The tags of the functions of one region."""

    def __init__(self) -> None:
        self._whole: dict[str, set[str]] = {}
        """Functions by a tag."""
        self._begun: dict[str, set[str]] = {}
        """Functions by the beginning of their tags."""
        self._learned: dict[str, set[str]] = {}
        """By function, the beginnings of tags that were learned."""

    def add(self, function: str, templates: Iterable[str]) -> None:
        """Note the templates of a function's tags. Of one that begins with a field, nothing is
        known: `learn` its tags."""
        for template in templates:
            text, brace, _ = template.partition("{")
            if text:
                known = self._begun if brace else self._whole
                known.setdefault(text, set()).add(function)

    def learn(self, function: str, tags: Iterable[str]) -> None:
        """Note tags that were made for a call of a function."""
        learned = self._learned.setdefault(function, set())
        for tag in tags:
            text, colon, _ = tag.partition(":")
            if text not in learned and len(learned) < LEARNED:
                learned.add(text)
                known = self._begun if colon else self._whole
                known.setdefault(text + colon, set()).add(function)

    def of(self, tags: Iterable[str], families: Iterable[str] = ()) -> set[str]:
        """Return the functions that have one of ``tags``, or a tag of one of ``families``."""
        found: set[str] = set()
        for tag in tags:
            found |= self._whole.get(tag, set())
            for text, functions in list(self._begun.items()):
                if tag.startswith(text):
                    found |= functions
        for family in families:
            for text, functions in [*self._whole.items(), *self._begun.items()]:
                if text.startswith(family) or family.startswith(text):
                    found |= functions
        return found
