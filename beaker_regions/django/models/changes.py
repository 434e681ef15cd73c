"""The tags that one write invalidates, collected before and after it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.db import connections
from django.db.models import QuerySet

from beaker_regions.django.manager import all_tagged
from beaker_regions.django.models.declarations import Declaration
from beaker_regions.django.models.followed import follow_again
from beaker_regions.django.models.rows import Row, TooManyRowsError, read, tags_of, with_keys
from beaker_regions.django.models.watching import Watch
from beaker_regions.django.transactions import run_at_commit
from beaker_regions.engine.invalidation import invalidate_tags


class Changes:
    """The tags of the rows that one statement changes."""

    def __init__(self, watch: Watch, using: str) -> None:
        self._watch = watch
        self._using = using
        self._tags: set[str] = set()
        self._families: set[str] = set()

    def add_rows(self, declaration: Declaration, rows: Collection[Row]) -> None:
        """Add the tags of rows with these columns, and those of their model."""
        if not rows:
            return
        self._tags.update(declaration.fixed)
        if not declaration.templates:
            return
        try:
            tags = tags_of(declaration, rows, self._using)
        except TooManyRowsError:
            self._families.update(declaration.families)
            return
        self._tags |= tags
        follow_again(declaration, rows, tags, self._using)

    def add_whole(self, declarations: Iterable[Declaration] | None = None) -> None:
        """Add all tags that rows of these models can have; of the written model by default."""
        for each in self._watch.all if declarations is None else declarations:
            self._tags.update(each.fixed)
            self._families.update(each.families)

    def ask(self, rows: QuerySet[Any]) -> list[Any] | None:
        """Add the tags of rows of the written model, and of those that follow them. Returns their
        primary keys; None if there are too many, which adds the whole model."""
        declaration = self._watch.declaration
        try:
            found = read(rows, declaration)
        except TooManyRowsError:
            self.add_whole()
            return None
        self.add_rows(declaration, found.values())
        keys = list(found)
        self._ask_followers(keys)
        return keys

    def ask_again(self, keys: list[Any], *, own: bool) -> None:
        """Add the tags that the rows have after the write; of followers alone if not ``own``."""
        if not keys:
            return
        if own:
            declaration = self._watch.declaration
            rows = read(with_keys(declaration.model, keys, self._using), declaration)
            self.add_rows(declaration, rows.values())
        self._ask_followers(keys)

    def _ask_followers(self, keys: list[Any]) -> None:
        for declaration, lookup in self._watch.followers if keys else ():
            rows = with_keys(declaration.model, keys, self._using, lookup)
            try:
                self.add_rows(declaration, read(rows, declaration).values())
            except TooManyRowsError:
                self.add_whole([declaration])

    def invalidate(self) -> None:
        """Invalidate the tags at the commit, or now if no transaction is open."""
        connection = connections[self._using]
        if self._watch.is_historical and connection.in_atomic_block:
            # A migration may run before the outbox has its table.
            run_at_commit(connection, self._invalidate)
        else:
            self._invalidate()

    def _invalidate(self) -> None:
        cause = f"a change of {self._watch.declaration.model._meta.verbose_name_plural}"
        invalidate_tags(all_tagged(), sorted(self._tags), sorted(self._families), cause)
