"""From DATABASE_URL to Django's options for that kind of database."""

from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

OPTIONS: dict[str, dict[str, Any]] = {
    "django.db.backends.sqlite3": {
        # Readers and one writer at a time, none waiting for the other; a writer that has to wait
        # takes its turn at the start of its transaction instead of failing in the middle.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,  # seconds
    },
    "django.db.backends.mysql": {
        "charset": "utf8mb4",
        "init_command": "SET sql_mode='STRICT_TRANS_TABLES'",
        "connect_timeout": 5,  # seconds
        # Seconds without a byte: longer than the 50 that a statement may wait for a lock there,
        # and, with a connection's 5, not as long as web servers wait for an answer. A migration
        # that takes longer has its own: DATABASE_URL=mysql://…?read_timeout=86400.
        "read_timeout": 52,
        "write_timeout": 52,
    },
    "django.db.backends.postgresql": {
        "connect_timeout": 5,  # seconds
        # A host that is cut off is found out after 50 seconds, whether it owes an answer or the
        # receipt of a question; a statement takes as long as it takes. (The client has no time
        # limit for a server that hangs and whose host does not.)
        "keepalives_idle": 20,  # seconds
        "keepalives_interval": 10,  # seconds
        "keepalives_count": 3,
        "tcp_user_timeout": 50_000,  # milliseconds
    },
}
"""Kinds of database that the project runs on. What a URL says (``?read_timeout=5``) counts more."""


def database(url: str) -> dict[str, Any]:
    """Return Django's settings of the database at ``url``: ``sqlite:///path``, ``mysql://…`` or
    ``postgres://…``. Raises ImproperlyConfigured.
    """
    try:
        parsed: dict[str, Any] = dict(
            dj_database_url.parse(url, conn_max_age=600, conn_health_checks=True)
        )
    except ValueError as error:
        raise ImproperlyConfigured(
            "DATABASE_URL cannot be read; write sqlite:///path/of/file, "
            "mysql://user:password@host:port/name or postgres://user:password@host:port/name"
        ) from error
    options = OPTIONS.get(parsed["ENGINE"])
    if options is None:
        raise ImproperlyConfigured(
            f"DATABASE_URL names a {parsed['ENGINE']} database; use sqlite, mysql or postgres"
        )
    parsed["OPTIONS"] = options | parsed.get("OPTIONS", {})
    return parsed
