"""Commits that end in a way that leaves open whether they have taken place.

When the answer to a COMMIT is lost, Django closes the connection and forgets the commit hooks; when
the connection breaks between the commit and the next statement, it does so as well. What waits for
such a commit is then invalidated: for nothing, perhaps, which costs a load. A commit that the
database itself refuses, as for a constraint that is checked at its end, is a rollback, and
invalidates nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("beaker_regions.django")

_MYSQL_CLIENT = range(2000, 3000)
"""Codes of MySQL's client: not the server has said so. A proxy that passes them on, as ProxySQL
does, keeps its own connection."""


def watch_end(connection: BaseDatabaseWrapper, lost: Callable[[list[Any]], None]) -> None:
    """Call ``lost`` with the hooks of the open transaction if they are not run although it may be
    committed; twice, where a later statement may be what commits it."""
    if "commit" in vars(connection):
        return
    own = type(connection)
    unsure: list[Any] = []

    def commit() -> None:
        hooks = _hooks(connection)
        try:
            own.commit(connection)
        except BaseException as error:
            if not _is_rolled_back(connection, error):
                unsure.extend(hooks)
                _tell(hooks, error)
            raise

    def set_autocommit(autocommit: bool, *args: Any, **kwargs: Any) -> None:
        if autocommit:
            # The end of the transaction, whatever it was.
            del connection.commit, connection.set_autocommit
        hooks = unsure or _hooks(connection)
        try:
            own.set_autocommit(connection, autocommit, *args, **kwargs)
        except BaseException as error:
            if not connection.autocommit and connection.run_commit_hooks_on_set_autocommit_on:
                unsure[:] = hooks
                logger.debug("the hooks of a commit were not run: %r", error)
            raise
        finally:
            if unsure:
                lost(unsure)

    def _tell(hooks: list[Any], error: BaseException) -> None:
        if hooks:
            logger.warning("whether a transaction was committed is not known: %r", error)
            lost(hooks)

    connection.commit = commit  # type: ignore[method-assign]
    connection.set_autocommit = set_autocommit  # type: ignore[method-assign]


def _hooks(connection: BaseDatabaseWrapper) -> list[Any]:
    return [hook for _, hook, *_ in connection.run_on_commit]


def _is_rolled_back(connection: BaseDatabaseWrapper, error: BaseException) -> bool:
    """Whether a commit that failed has certainly not taken place."""
    if not isinstance(error, DatabaseError):
        return False  # an exception of a signal handler, at whatever moment
    if connection.vendor == "mysql" and error.args and error.args[0] in _MYSQL_CLIENT:
        return False
    try:
        connection.rollback()
    except Exception:
        return False
    return True
