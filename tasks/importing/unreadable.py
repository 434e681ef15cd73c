"""What is wrong with a database that cannot be read or written, and the mend."""

from __future__ import annotations

import contextlib

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor

_INCORRECT_STRING = 1366
"""MariaDB's and MySQL's number for a text that the character set of a column does not have."""


def reason(error: DatabaseError | InterfaceError) -> str:
    """Return the error of a query; with the command to run, if the tables are not up to date or
    do not take all letters."""
    if error.args[:1] == (_INCORRECT_STRING,):
        return (
            f"{error}; the tables do not take all letters: run ALTER TABLE … CONVERT TO CHARACTER "
            "SET utf8mb4 for each, and ALTER DATABASE … CHARACTER SET utf8mb4"
        )
    with contextlib.suppress(DatabaseError, InterfaceError):
        migrations = MigrationExecutor(connection)
        if migrations.migration_plan(migrations.loader.graph.leaf_nodes()):
            return f"{error}; the tables are not up to date: run manage.py migrate"
    return str(error)
