"""The tags of the rows that an INSERT makes, most of them known from its instances."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import attrgetter, or_
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q, QuerySet
from django.db.models.constants import OnConflict
from django.db.models.sql import InsertQuery

from beaker_regions.django.models.changes import Changes
from beaker_regions.django.models.rows import (
    UNKNOWN,
    Row,
    TooManyRowsError,
    is_predictable,
    known,
    read,
    with_keys,
)
from beaker_regions.django.models.templates import AnyField
from beaker_regions.django.models.watching import Watch


class Insert:
    """One INSERT statement."""

    def __init__(
        self,
        query: InsertQuery,
        connection: BaseDatabaseWrapper,
        watch: Watch,
        changes: Changes,
        returning: Sequence[AnyField],
    ) -> None:
        self._query = query
        self._connection = connection
        self._watch = watch
        self._declaration = watch.declaration
        self._changes = changes
        self._returning = tuple(returning)
        self._updates = query.on_conflict == OnConflict.UPDATE  # type: ignore[attr-defined]
        self._is_whole = watch.is_historical
        self._updated: list[Any] = []
        """The primary keys of the rows that existed."""
        self._number = 0

    @property
    def asks(self) -> bool:
        """Whether the database is asked for tags before or after the statement. In a transaction
        it makes no difference."""
        if self._connection.in_atomic_block:
            return True
        if self._is_whole or not self._declaration.templates:
            return False
        if self._updates or any(source.path for source in self._declaration.sources):
            return True
        returned: dict[AnyField, Sequence[Any]] = dict.fromkeys(self._returning, ())
        return any(UNKNOWN in self._column(field, returned) for field in self._declaration.columns)

    def before(self) -> None:
        """Add the tags of the existing rows that the statement will update."""
        if not self._updates or self._is_whole or not self._watch.must_ask:
            return
        rows = self._existing()
        if rows is None:
            self._is_whole = True
            return
        keys = self._changes.ask(rows)
        if keys is None or (self._connection.vendor != "sqlite" and len(keys) < self._number):
            # Elsewhere than on SQLite, another process may insert one of the missing rows now.
            self._is_whole = True
            return
        self._updated = keys

    def _existing(self) -> QuerySet[Any] | None:
        """Return the rows that the statement will update; None if they cannot be found."""
        objects, fields = self._query.objs, self._query.unique_fields  # type: ignore[attr-defined]
        if not fields or len(objects) > self._declaration.limit:
            return None
        columns = [self._column(field, {}) for field in fields]
        values = set(zip(*columns, strict=True))
        self._number = len(values)
        if any(UNKNOWN in each for each in values):
            return None
        names = [field.attname for field in fields]
        found = [Q(**dict(zip(names, each, strict=True))) for each in values if None not in each]
        rows: QuerySet[Any] = QuerySet(self._declaration.model, using=self._connection.alias)
        return rows.filter(reduce(or_, found)) if found else rows.none()

    def after(self, returned: Sequence[Sequence[Any]]) -> None:
        """Add the tags of the rows, which exist now."""
        if self._is_whole:
            self._changes.add_whole()
            return
        declaration = self._declaration
        if not declaration.templates:
            self._changes.add_rows(declaration, [()])
            return
        self._changes.ask_again(self._updated, own=True)
        objects = self._query.objs
        by_field: dict[AnyField, Sequence[Any]] = {}
        if returned and len(returned) == len(objects):
            by_field = dict(zip(self._returning, zip(*returned, strict=True), strict=True))
        columns = [self._column(field, by_field) for field in declaration.columns]
        rows: set[Row] = set(zip(*columns, strict=True))
        certain = {row for row in rows if UNKNOWN not in row}
        try:
            if len(certain) < len(rows):
                uncertain = [
                    number
                    for number, row in enumerate(zip(*columns, strict=True))
                    if UNKNOWN in row
                ]
                certain |= self._ask(uncertain, by_field)
            if len(certain) > declaration.limit:
                raise TooManyRowsError
        except TooManyRowsError:
            self._changes.add_whole([declaration])
            return
        self._changes.add_rows(declaration, certain)

    def _ask(self, numbers: list[int], returned: dict[AnyField, Sequence[Any]]) -> set[Row]:
        """Return the columns of the inserted objects of these numbers. Raises TooManyRowsError if
        they cannot be found."""
        model = self._declaration.model
        own = [self._column(field, returned) for field in model._meta.pk_fields]
        keys = [tuple(column[number] for column in own) for number in numbers]
        if len(keys) > self._declaration.limit or any(
            UNKNOWN in key or None in key for key in keys
        ):
            raise TooManyRowsError
        plain = keys if len(own) > 1 else [key[0] for key in keys]
        using = self._connection.alias
        return set(read(with_keys(model, plain, using), self._declaration).values())

    def _column(self, field: AnyField, returned: dict[AnyField, Sequence[Any]]) -> Sequence[Any]:
        """Return the values of one column in the order of the objects, some of them `UNKNOWN`."""
        objects = self._query.objs
        if field in returned:
            return returned[field]
        if not is_predictable(field):
            return [UNKNOWN] * len(objects)
        values = list(map(attrgetter(field.attname), objects))
        if len({*map(type, values)} - {type(None)}) == 1 and isinstance(values[0], int | str):
            # Many rows have few values.
            forms = {value: self._known(field, value) for value in set(values)}
            return [forms[value] for value in values]
        return [self._known(field, value) for value in values]

    def _known(self, field: AnyField, value: Any) -> Any:
        # The database makes the key of a row that has none yet.
        return UNKNOWN if value is None and field.primary_key else known(field, value)
