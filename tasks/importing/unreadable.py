"""What is wrong with a database that cannot be read or written, and the mend."""

from __future__ import annotations

import contextlib

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor


def reason(error: DatabaseError | InterfaceError) -> str:
    """Return the error of a query; with the command to run, if the tables are not up to date."""
    with contextlib.suppress(DatabaseError, InterfaceError):
        migrations = MigrationExecutor(connection)
        if migrations.migration_plan(migrations.loader.graph.leaf_nodes()):
            return f"{error}; the tables are not up to date: run manage.py migrate"
    return str(error)
