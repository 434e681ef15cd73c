"""Commits whose outcome is unknown.

If the answer to a COMMIT is lost, or the connection breaks between the commit and the next
statement, Django closes the connection and forgets the commit hooks. The pending invalidations are
then applied: if the commit did not take place, this costs a load. If the database itself refuses
the commit, as for a constraint that is checked at its end, the transaction is rolled back, and
nothing is invalidated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("beaker_regions.django")

_MYSQL_CLIENT = range(2000, 3000)
"""Error codes of MySQL's client: they are no answer of the server. A proxy that passes them on, as
ProxySQL does, keeps its own connection."""


def watch_commit(
    connection: BaseDatabaseWrapper, commit_unknown: Callable[[list[Any]], None]
) -> None:
    """Call ``commit_unknown`` with the hooks of the open transaction if Django does not run them
    although it may be committed; twice, if a later statement may be the one that commits."""
    if "commit" in vars(connection):
        return
    backend = type(connection)
    unsure: list[Any] = []

    def commit() -> None:
        hooks = _hooks(connection)
        try:
            backend.commit(connection)
        except BaseException as error:
            if not _is_rolled_back(connection, error):
                unsure.extend(hooks)
                report(hooks, error)
            raise

    def set_autocommit(autocommit: bool, *args: Any, **kwargs: Any) -> None:
        if autocommit:
            # The end of the transaction, committed or not.
            del connection.commit, connection.set_autocommit
        hooks = unsure or _hooks(connection)
        try:
            backend.set_autocommit(connection, autocommit, *args, **kwargs)
        except BaseException as error:
            if not connection.autocommit and connection.run_commit_hooks_on_set_autocommit_on:
                unsure[:] = hooks
                logger.debug("the hooks of a commit were not run: %r", error)
            raise
        finally:
            if unsure:
                commit_unknown(unsure)

    def report(hooks: list[Any], error: BaseException) -> None:
        if hooks:
            logger.warning("it is unknown whether a transaction was committed: %r", error)
            commit_unknown(hooks)

    connection.commit = commit  # type: ignore[method-assign]
    connection.set_autocommit = set_autocommit  # type: ignore[method-assign]


def _hooks(connection: BaseDatabaseWrapper) -> list[Any]:
    return [hook for _, hook, *_ in connection.run_on_commit]


def _is_rolled_back(connection: BaseDatabaseWrapper, error: BaseException) -> bool:
    """Whether it is certain that a failed commit did not take place."""
    if not isinstance(error, DatabaseError):
        return False  # an exception of a signal handler, which may come at any moment
    if connection.vendor == "mysql" and error.args and error.args[0] in _MYSQL_CLIENT:
        return False
    try:
        connection.rollback()
    except Exception:
        return False
    return True
