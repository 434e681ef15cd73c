"""Invalidation of rows that were written past Django's ORM."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import router, transaction
from django.db.models import Model, QuerySet

from beaker_regions.django.models.changes import Changes
from beaker_regions.django.models.declarations import declaration_of, model_named
from beaker_regions.django.models.rows import matching, with_keys
from beaker_regions.django.models.watching import watch_of
from beaker_regions.errors import ConfigurationError


def invalidate_model(
    model: type[Model] | str, rows: Iterable[Any] | None = None, *, using: str | None = None
) -> None:
    """Invalidate the tags of rows that Django's ORM did not write.

    Raw SQL, ``COPY`` and other programs change rows unseen. Call this after such a change, in its
    transaction. If tags of the rows changed or rows are deleted, call it before the change, too.

    Args:
        model: A model with declared tags, see `row_tags`, or its label.
        rows: The rows: instances, primary keys or a query set. The tags that they have now are
            invalidated. None, or more rows than the declaration's limit: all tags that rows of the
            model can have.
        using: The alias of the rows' database. By default that of the query set, or else the one
            that the database router writes the model to.

    Raises:
        ConfigurationError: No tags of the model are declared, or ``rows`` is a single row.

    Example::

        with connection.cursor() as cursor:
            cursor.execute("UPDATE tasks_task SET done = 1 WHERE list_id = 7")
        invalidate_model(Task, Task.objects.filter(list_id=7))
    """
    model = model_named(model)
    watch = watch_of(model)
    if watch is None or declaration_of(model) is None:
        raise ConfigurationError(
            f"invalidate_model({model._meta.label}): its rows have no tags; declare them with "
            f"@beaker_regions.django.row_tags(...) beside the model"
        )
    if isinstance(rows, (str, Model)) or not isinstance(rows, Iterable | None):
        raise ConfigurationError(
            f"invalidate_model({model._meta.label}): rows = {rows!r}: give a list of rows, or None "
            f"for all"
        )
    if using is None:
        using = rows.db if isinstance(rows, QuerySet) else router.db_for_write(model)
    changes = Changes(watch, using)
    if rows is None:
        changes.add_whole()
        changes.invalidate()
        return
    if isinstance(rows, QuerySet):
        asked = matching(rows.query, using)
    else:
        keys = [each.pk if isinstance(each, Model) else each for each in rows]
        asked = with_keys(watch.declaration.model, keys, using)
    with transaction.atomic(using=using, savepoint=False):
        changes.ask(asked)
        changes.invalidate()
