"""A namespace of Beaker's in one row of a database (`ext:database`, `ext:sqla`).

Beaker's manager reads its row once in its life, and writes its state back without a lock. Here it
is only used to find the row. Each lookup reads the row again. A change locks the row with a write,
reads it, and writes it back, in one transaction. Between the two writes every database excludes
changes from all other processes and hosts, so no change is lost.
"""

from __future__ import annotations

import contextlib
import copy
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from beaker.ext import sqla

from beaker_regions.errors import RowFullError
from beaker_regions.runtime.interruptions import is_interruption


class Row:
    """The row of a namespace, for any number of threads and processes."""

    def __init__(self, manager: type[Any], namespace: str, options: Mapping[str, Any]) -> None:
        """Raises the errors of ``manager`` for options that cannot be used. An unreachable database
        raises only in later calls."""
        self._manager, self._namespace, self._options = manager, namespace, options
        self._found: Any = None
        manager._init_dependencies()
        with contextlib.suppress(sqla.sa.exc.DBAPIError):
            self._find()

    def _find(self) -> Any:
        """Return a new manager for the caller alone."""
        if self._found is None:
            self._found = self._manager(self._namespace, **self._options)
        return copy.copy(self._found)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Any]:
        """Yield a manager with the present contents of the row."""
        namespace = self._find()
        with namespace.bind.connect() as connection:
            namespace.hash = _contents(namespace, connection)
        yield namespace

    @contextlib.contextmanager
    def writing(self, replace: bool = False) -> Iterator[Any]:
        """Yield a manager with the contents of the row, or empty with ``replace``. Its contents are
        written to the row at the end. Raises RowFullError if they are too large."""
        namespace = self._find()
        with namespace.bind.connect() as connection:
            _take(namespace, connection)
            namespace.hash = {} if replace else _contents(namespace, connection)
            yield namespace
            try:
                connection.execute(_update(namespace).values(data=namespace.hash))
            except sqla.sa.exc.DataError as error:
                raise RowFullError(str(error.orig)) from error
            connection.commit()


def _take(namespace: Any, connection: Any) -> None:
    """Begin a transaction and lock the row. Makes the row if there is none."""
    lock = _update(namespace).values(accessed=sqla.sa.func.now())
    if connection.execute(lock).rowcount:
        return
    # In MySQL, the lock of a missing row would stop others from making it.
    connection.rollback()
    now = sqla.sa.func.now()
    row = {"namespace": namespace.namespace, "data": {}, "accessed": now, "created": now}
    try:
        connection.execute(namespace.table.insert().values(row))
        connection.commit()
    except sqla.sa.exc.IntegrityError:  # Another process made it.
        connection.rollback()
    connection.execute(lock)


def _contents(namespace: Any, connection: Any) -> dict[str, Any]:
    """Return the contents of the row, empty if they are no namespace: MySQL without strict mode
    truncates data that is too large."""
    table = namespace.table
    query = sqla.sa.select(table.c.data).where(table.c.namespace == namespace.namespace)
    try:
        found = connection.execute(query).scalar()
    except sqla.sa.exc.SQLAlchemyError:
        raise
    except Exception as error:  # Unpickling raises anything.
        if is_interruption(error):
            raise
        return {}
    return found if isinstance(found, dict) else {}


def _update(namespace: Any) -> Any:
    return namespace.table.update().where(namespace.table.c.namespace == namespace.namespace)


_of_parents: list[Any] = []
"""Connections inherited by a fork. They are kept, because freeing them would close them."""


def _after_fork() -> None:
    managers = sqla.SqlaNamespaceManager
    # Another thread of the parent may have had them.
    managers.binds.mutex, managers.tables.mutex = threading.Lock(), threading.Lock()
    for engine in {*managers.binds.dict.values()}:
        _of_parents.append(engine.pool)
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_after_fork)
