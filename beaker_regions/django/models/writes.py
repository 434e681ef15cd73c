"""Every write of Django's ORM invalidates the tags of the rows that it changes.

Every write through the ORM ends in one of three compilers: `save`, `bulk_create`, `update`,
`bulk_update`, `delete`, cascades, many-to-many relations, the admin, `loaddata`, coroutines, even
`_raw_delete`, which sends no signal. So these compilers are wrapped, and nothing else: signals tell
nothing of bulk changes, and no manager or base class has to be used.

An UPDATE or DELETE first asks for the tags of its rows and locks them. Then it changes those rows
alone: a row that another process inserts in between stays as it is. An INSERT knows most tags from
its instances. `Model.save` asks nothing, either: it changes the row on the condition that the row
has the tags that the instance knows (`save_known`), and asks only if it does not.

All of this, and the invalidation, is in one transaction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.apps import apps
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.models.sql import compiler as compilers
from django.db.models.sql.constants import ROW_COUNT
from django.db.models.sql.where import AND
from django.db.transaction import TransactionManagementError

from beaker_regions.django.manager import is_installed
from beaker_regions.django.models.changes import Changes
from beaker_regions.django.models.inserts import Insert
from beaker_regions.django.models.rows import (
    UNKNOWN,
    Row,
    is_comparable,
    is_predictable,
    known,
    matching,
)
from beaker_regions.django.models.watching import Watch, build_watches, watch_of

KNOWN_ROW = "regions_known_row"
"""The attribute of a query whose row has certain columns, if it exists."""


def watch_models() -> None:
    """Let the writes of every declared model invalidate."""
    if any(build_watches().values()):
        _wrap_all()


@functools.cache
def _wrap_all() -> None:
    """Wrap the compilers and `Model.save`, once."""
    _wrap(compilers.SQLInsertCompiler, "execute_sql", _insert)
    _wrap(compilers.SQLUpdateCompiler, "execute_sql", _update)
    if hasattr(compilers.SQLUpdateCompiler, "execute_returning_sql"):  # Django 6.0 on
        _wrap(compilers.SQLUpdateCompiler, "execute_returning_sql", _update)
    _wrap(compilers.SQLDeleteCompiler, "execute_sql", _delete)
    _wrap_save()


def _wrap(compiler: type, name: str, write: Callable[..., Any]) -> None:
    """Let ``write`` execute the statements of a compiler that are about a watched model."""
    plain = getattr(compiler, name)

    @functools.wraps(plain)
    def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        watch = watch_of(self.query.model)
        if watch is None or not is_installed() or hasattr(self, "_regions_watched"):
            return plain(self, *args, **kwargs)
        _refuse_manual_transactions(self.connection, watch)
        self._regions_watched = True  # one of these methods may call another
        try:
            return write(self, watch, functools.partial(plain, self), *args, **kwargs)
        finally:
            del self._regions_watched

    setattr(compiler, name, execute)


def _refuse_manual_transactions(connection: BaseDatabaseWrapper, watch: Watch) -> None:
    """Raise TransactionManagementError before a statement whose commit Django does not report."""
    if not connection.in_atomic_block and not connection.get_autocommit():
        raise TransactionManagementError(
            f"{watch.declaration.model._meta.label} has declared tags, and with autocommit off "
            f"nothing reports when a write of it is committed: use transaction.atomic()"
        )


def _in_one_transaction(
    connection: BaseDatabaseWrapper, *, asks: bool
) -> AbstractContextManager[None]:
    """Return a transaction for a statement, the questions around it and the outbox's rows; an open
    one is used."""
    if connection.in_atomic_block or not (asks or _has_outbox()):
        return nullcontext()
    return transaction.atomic(using=connection.alias, savepoint=False)


@functools.cache
def _has_outbox() -> bool:
    return apps.is_installed("beaker_regions.django.outbox")


def _after(connection: BaseDatabaseWrapper) -> AbstractContextManager[None]:
    """Return a block for the steps after a statement. If one of them fails, the statement must not
    be committed without its invalidation."""
    return transaction.mark_for_rollback_on_error(using=connection.alias)


# -- UPDATE ----------------------------------------------------------------------------------------


def _update(compiler: Any, watch: Watch, execute: Callable[[Any], Any], result_type: Any) -> Any:
    """Execute an UPDATE; ``result_type`` may also be the fields that it returns."""
    query, connection = compiler.query, compiler.connection
    if not query.values:  # only parents are written, by statements of their own
        return execute(result_type)
    changes = Changes(watch, connection.alias)
    row: Row | None = getattr(query, KNOWN_ROW, None)
    declaration = watch.declaration
    fields = {field for field, _, _ in query.values}
    is_whole = watch.is_historical or any(field.primary_key for field in fields)
    asks = watch.must_ask and not is_whole and row is None
    with _in_one_transaction(connection, asks=asks or _follows_keys(watch)):
        keys = None
        if asks:
            keys = changes.ask(matching(query, connection.alias))
            if keys is not None:
                if not keys and result_type != ROW_COUNT:
                    return []  # no row is returned
                query.add_filter("pk__in", keys)
        result = execute(result_type)
        is_counted = result_type == ROW_COUNT or isinstance(result, list)
        if keys == [] or (keys is None and is_counted and not result):
            return result
        with _after(connection):
            if is_whole:
                changes.add_whole()
            elif keys is not None:
                columns = declaration.columns
                changed = any(field in fields or field.generated for field in columns)
                changes.ask_again(keys, own=changed)
            elif row is not None or not watch.must_ask:
                changes.add_rows(declaration, [row or ()])
            changes.invalidate()
    return result


def _follows_keys(watch: Watch) -> bool:
    """Whether rows of other models are asked for, even if those of the statement are known."""
    return any(source.path for source in watch.declaration.sources)


# -- DELETE ----------------------------------------------------------------------------------------


def _delete(
    compiler: Any, watch: Watch, execute: Callable[..., Any], result_type: Any, **kwargs: Any
) -> Any:
    query, connection = compiler.query, compiler.connection
    changes = Changes(watch, connection.alias)
    asks = watch.must_ask and not watch.is_historical
    with _in_one_transaction(connection, asks=asks):
        keys = None
        if asks:
            keys = changes.ask(matching(query, connection.alias))
            if keys is not None:
                query.add_filter("pk__in", keys)
        result = execute(result_type, **kwargs)
        if keys == [] or (keys is None and result_type == ROW_COUNT and not result):
            return 0 if result is None and result_type == ROW_COUNT else result
        with _after(connection):
            if not asks:
                changes.add_whole()
            changes.add_whole(watch.deleted_by_database)
            changes.invalidate()
    return result


# -- INSERT ----------------------------------------------------------------------------------------


def _insert(
    compiler: Any, watch: Watch, execute: Callable[[Any], Any], returning_fields: Any = None
) -> Any:
    connection = compiler.connection
    changes = Changes(watch, connection.alias)
    insert = Insert(compiler.query, connection, watch, changes, returning_fields or ())
    with _in_one_transaction(connection, asks=insert.asks):
        insert.before()
        returned = execute(returning_fields)
        with _after(connection):
            insert.after(returned)
            changes.invalidate()
    return returned


# -- Model.save ------------------------------------------------------------------------------------


def _wrap_save() -> None:
    plain: Any = Model._do_update

    @functools.wraps(plain)
    def save_known(
        self: Model, base_qs: Any, using: str, pk_val: Any, values: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Update the row on the condition that it has the tags that the instance knows."""
        watch = watch_of(base_qs.model)
        if watch is not None and values and is_installed():
            row = _known_row(self, watch, base_qs)
            if row is not None:
                rows = base_qs.all()
                _add_conditions(rows.query, watch.declaration.columns, row)
                setattr(rows.query, KNOWN_ROW, row)
                saved = plain(self, rows, using, pk_val, values, *args, **kwargs)
                if saved:
                    return saved
        return plain(self, base_qs, using, pk_val, values, *args, **kwargs)

    Model._do_update = save_known  # type: ignore[assignment, method-assign]


def _add_conditions(query: Any, columns: Sequence[Any], row: Row) -> None:
    """Let a query match rows with these columns only; as ``filter()`` does, in less time."""
    alias = query.get_initial_alias()
    for field, value in zip(columns, row, strict=True):
        column = field.get_col(alias)
        if value is None:
            query.where.add(field.get_lookup("isnull")(column, True), AND)
        else:
            query.where.add(field.get_lookup("exact")(column, value), AND)


def _known_row(instance: Model, watch: Watch, rows: Any) -> Row | None:
    """Return the columns that a row has before and after it is saved, if it has the same ones as
    its instance; None if they cannot be known, or compared."""
    if watch.followers or not watch.declaration.templates:
        return None
    row = []
    connection = connections[rows.db]
    for field in watch.declaration.columns:
        if (
            field.attname not in instance.__dict__
            or field.model._meta.concrete_model is not watch.declaration.model
            or not is_predictable(field)
            or not is_comparable(field, connection)
        ):
            return None
        value = known(field, instance.__dict__[field.attname])
        if value is UNKNOWN:
            return None
        row.append(value)
    return tuple(row)
