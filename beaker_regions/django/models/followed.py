"""Tags that foreign keys lead to, followed once more after the commit.

The tag ``"user:{list__user_id}"`` of a task depends on a row of another table. Another transaction
may change that row, and commit, before the write of the task is committed. From then on, a page of
the new user is made of the old task, and no transaction knows that. A lock on the other row would
prevent it, but the application may lock the same rows in another order: a deadlock. So the keys are
followed again after the commit, and what is new is invalidated then. A change of the other row that
is committed even later finds the task as it is now.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from beaker_regions.django.manager import all_tagged
from beaker_regions.django.models.declarations import Declaration
from beaker_regions.django.models.rows import Row, TooManyRowsError, tags_of
from beaker_regions.django.transactions import is_of_a_test, run_at_commit
from beaker_regions.engine.invalidation import invalidate_tags

logger = logging.getLogger("beaker_regions.django")


def follow_again(declaration: Declaration, rows: Iterable[Row], tags: set[str], using: str) -> None:
    """After the commit, invalidate the tags of rows that are not among ``tags`` any more."""
    connection = connections[using]
    if (
        not any(source.path for source in declaration.sources)
        or not connection.in_atomic_block
        or connection.vendor == "sqlite"  # no other connection writes until the commit
        or is_of_a_test(connection)
    ):
        return
    again = _pending(connection, declaration)
    again.rows.update(rows)
    again.tags |= tags


class _FollowAgain:
    """A commit hook, for the rows of one model that a savepoint has changed."""

    def __init__(self, declaration: Declaration, using: str) -> None:
        self.declaration = declaration
        self.rows: set[Row] = set()
        self.tags: set[str] = set()
        self._using = using

    def __call__(self) -> None:
        try:
            tags = tags_of(self.declaration, self.rows, self._using) - self.tags
            families: tuple[str, ...] = ()
        except TooManyRowsError:
            tags, families = set(), self.declaration.families
        except Exception:
            logger.exception("the rows of %s are invalidated as a whole", self.declaration.model)
            tags, families = set(), self.declaration.families
        invalidate_tags(all_tagged(), sorted(tags), families)


def _pending(connection: BaseDatabaseWrapper, declaration: Declaration) -> _FollowAgain:
    """Return the hook of the current savepoint."""
    savepoints = set(connection.savepoint_ids)
    for within, hook, *_ in connection.run_on_commit:
        is_same = isinstance(hook, _FollowAgain) and hook.declaration is declaration
        if is_same and within == savepoints:
            return hook  # type: ignore[return-value]
    made = _FollowAgain(declaration, connection.alias)
    run_at_commit(connection, made)
    return made
