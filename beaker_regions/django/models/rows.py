"""Asks the database which tags rows have, and keeps them from changing until the commit."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.db.models.sql import Query

from beaker_regions.django.models.declarations import Declaration
from beaker_regions.django.models.templates import AnyField, Source

Row = tuple[Any, ...]
"""The values of a declaration's columns."""

UNKNOWN: Any = object()
"""Stands for a value that only the database knows."""


class TooManyRowsError(Exception):
    """There are more rows than the declaration lets a statement ask for."""


def matching(query: Query, using: str) -> QuerySet[Any]:
    """Return the rows that an UPDATE or DELETE query changes."""
    asked = query.chain(klass=Query)
    asked.get_initial_alias()
    asked.select_related = False
    asked.clear_ordering(force=True)
    asked.extra = {}
    asked.clear_deferred_loading()
    asked.clear_select_fields()
    is_plain = asked.count_active_tables() == 1 and asked.group_by is None and not asked.distinct
    model = query.get_meta().model
    if is_plain:
        asked.set_annotation_mask(())
        return QuerySet(model, query=asked, using=using)
    # So only the table that is written is locked.
    asked.add_fields(["pk"])
    return QuerySet(model, using=using).filter(pk__in=asked)


def with_keys(
    model: type[Model], keys: Collection[Any], using: str | None, lookup: str = "pk"
) -> Any:
    """Return the rows with these primary keys, or whose ``lookup`` leads to them."""
    # Not in the model's own order: it may join other tables, whose rows would be locked too.
    return QuerySet(model, using=using).order_by().filter(**{f"{lookup}__in": list(keys)})


def read(rows: QuerySet[Any], declaration: Declaration) -> dict[Any, Row]:
    """Lock rows and return their columns, by primary key. Raises TooManyRowsError."""
    names = [field.attname for field in declaration.columns]
    limit = declaration.limit
    connection = connections[rows.db]
    lock_table(connection, rows.model)
    if connection.features.has_select_for_update:
        rows = rows.select_for_update()
    rows = rows.values_list("pk", *names)
    if connection.features.supports_select_for_update_with_limit:
        rows = rows[: limit + 1]
    found = {key: tuple(row) for key, *row in rows}
    if len(found) > limit:
        raise TooManyRowsError
    return found


def lock_table(connection: BaseDatabaseWrapper, model: type[Model]) -> None:
    """On SQLite, take the lock for writing before anything is read: a transaction that reads first
    cannot write after another one did."""
    if connection.vendor != "sqlite":
        return
    if getattr(connection, "transaction_mode", None) in ("IMMEDIATE", "EXCLUSIVE"):
        return  # it took the lock when it began
    name = connection.ops.quote_name
    table, column = name(model._meta.db_table), name(str(model._meta.pk_fields[0].column))
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = {column} WHERE 0")  # noqa: S608


def tags_of(declaration: Declaration, rows: Iterable[Row], using: str) -> set[str]:
    """Return the tags of rows with these columns; foreign keys are followed. The rows that they
    lead to are not locked (`beaker_regions.django.models.followed`). Raises TooManyRowsError."""
    rows = set(rows)
    if not rows:
        return set()
    columns = declaration.columns
    values: list[Sequence[Any]] = []
    for source in declaration.sources:
        place = columns.index(source.first)
        column = [row[place] for row in rows]
        if source.path:
            reached = _follow(source, {*column} - {None}, using, declaration.limit)
            column = [reached.get(value) for value in column]
        values.append(column)
    return set(declaration.tags(zip(*values, strict=True)))


def _follow(source: Source, keys: set[Any], using: str, limit: int) -> dict[Any, Any]:
    """Return, for each value of the first foreign key of a path, the value at the path's end."""
    if not keys:
        return {}
    if len(keys) > limit:
        raise TooManyRowsError
    key, *rest = source.path
    target = key.target_field
    rows = with_keys(key.remote_field.model, keys, using, target.attname)
    onward = source._replace(path=tuple(rest))
    found = dict(rows.values_list(target.attname, onward.first.attname))
    if not is_comparable(target, connections[rows.db]):
        # "A" may lead to the row of "a".
        for start in keys - found.keys():
            same = with_keys(key.remote_field.model, [start], using, target.attname)
            found |= dict.fromkeys(
                [start], same.values_list(onward.first.attname, flat=True).first()
            )
    if not rest:
        return found
    reached = _follow(onward, {*found.values()} - {None}, using, limit)
    return {start: reached.get(value) for start, value in found.items()}


# -- values of instances -------------------------------------------------------------------------

_INTEGERS = {
    models.AutoField,
    models.BigAutoField,
    models.SmallAutoField,
    models.IntegerField,
    models.BigIntegerField,
    models.SmallIntegerField,
    models.PositiveIntegerField,
    models.PositiveBigIntegerField,
    models.PositiveSmallIntegerField,
}
_TEXTS = {models.CharField, models.TextField, models.SlugField, models.EmailField, models.URLField}
_PLAIN = _INTEGERS | _TEXTS | {models.BooleanField, models.UUIDField, models.DateField}
"""Fields whose values the database returns in one form. Of a subclass that is not known."""


def value_field(field: AnyField) -> AnyField:
    """Return the field whose values a foreign key has, or the field itself."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    return field


def is_predictable(field: AnyField) -> bool:
    """Whether the database returns the value that an instance has, in one form."""
    own = value_field(field)
    is_key = type(field) in (models.ForeignKey, models.OneToOneField)
    return type(own) in _PLAIN and (field is own or is_key)


def is_comparable(field: AnyField, connection: BaseDatabaseWrapper) -> bool:
    """Whether the database finds a value equal only to itself, not to the one in capitals."""
    own = value_field(field)
    if type(own) in _TEXTS:
        return connection.vendor in ("sqlite", "postgresql") and not own.db_collation  # type: ignore[attr-defined]
    return True


def known(field: AnyField, value: Any) -> Any:
    """Return a value of an instance as the database will return it, or `UNKNOWN`."""
    own = value_field(field)
    if value is None or (type(value) is int and type(own) in _INTEGERS):
        return value
    if hasattr(value, "resolve_expression") or isinstance(value, datetime.datetime):
        return UNKNOWN
    try:
        made = own.to_python(value)
    except (ValidationError, TypeError, ValueError):
        return UNKNOWN
    return "".join([made]) if isinstance(made, str) else made  # a choice, or a safe string
