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
    ``postgres://…``. Raises ImproperlyConfigured for what has no meaning, and for a database that
    no two connections would share.
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
    if parsed["ENGINE"].endswith("sqlite3"):
        _check_file(url, parsed)
    elif not parsed["NAME"]:
        raise ImproperlyConfigured(
            f"DATABASE_URL names no database: write {url.partition('://')[0]}://user:password@"
            "host:port/name"
        )
    parsed["OPTIONS"] = options | parsed.get("OPTIONS", {})
    return parsed


def _check_file(url: str, parsed: dict[str, Any]) -> None:
    """Raise ImproperlyConfigured unless a URL of SQLite names a file, and nothing else."""
    place = url.partition("://")[2].partition("?")[0]
    if "@" in place:
        raise ImproperlyConfigured(
            "DATABASE_URL of SQLite has no user, password or host: write sqlite:///"
            f"{parsed['NAME'].lstrip('/')}, or with four slashes for an absolute path"
        )
    if ":memory:" in place or not place.strip("/"):
        raise ImproperlyConfigured(
            "DATABASE_URL means a database in memory, of which each thread and process would have "
            "one of its own; name a file: sqlite:///path/of/file"
        )
    if not place.startswith("/"):
        raise ImproperlyConfigured(
            f"DATABASE_URL=sqlite://{place} names a host and no file; with three slashes it is a "
            f"path, sqlite:///{place}, and with four an absolute one, sqlite:////srv/{place}"
        )
