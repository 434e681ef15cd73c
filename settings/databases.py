"""Makes Django's database settings from DATABASE_URL, with options for each kind of database."""

from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

OPTIONS: dict[str, dict[str, Any]] = {
    "django.db.backends.sqlite3": {
        # Readers and one writer do not wait for each other. A second writer waits at the start of
        # its transaction, instead of failing in the middle.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,  # seconds
    },
    "django.db.backends.mysql": {
        "charset": "utf8mb4",
        "init_command": "SET sql_mode='STRICT_TRANS_TABLES'",
        "connect_timeout": 5,  # seconds
        # Seconds without a byte. It is longer than the 50 s for which a statement may wait for a
        # lock, and, with the connection's 5 s, shorter than a web server's wait for an answer. For
        # a longer migration set DATABASE_URL=mysql://…?read_timeout=86400.
        "read_timeout": 52,
        "write_timeout": 52,
    },
    "django.db.backends.postgresql": {
        "connect_timeout": 5,  # seconds
        # A lost host is noticed after 50 seconds, whether the client waits for an answer or for the
        # receipt of a query. Statements have no time limit. (The client has no limit for a server
        # that hangs while its host still answers.)
        "keepalives_idle": 20,  # seconds
        "keepalives_interval": 10,  # seconds
        "keepalives_count": 3,
        "tcp_user_timeout": 50_000,  # milliseconds
    },
}
"""The options by kind of database. Options of a URL (``?read_timeout=5``) replace them."""


def database(url: str) -> dict[str, Any]:
    """Return Django's settings of the database at ``url``: ``sqlite:///path``, ``mysql://…`` or
    ``postgres://…``. Raises ImproperlyConfigured for a URL that cannot be used, and for a database
    in memory, which connections cannot share.
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
    path = url.partition("://")[2].partition("?")[0]
    if "@" in path:
        raise ImproperlyConfigured(
            "DATABASE_URL of SQLite has no user, password or host: write sqlite:///"
            f"{parsed['NAME'].lstrip('/')}, or with four slashes for an absolute path"
        )
    if ":memory:" in path or not path.strip("/"):
        raise ImproperlyConfigured(
            "DATABASE_URL is a database in memory, and each thread and process would have its own; "
            "name a file: sqlite:///path/of/file"
        )
    if not path.startswith("/"):
        raise ImproperlyConfigured(
            f"DATABASE_URL=sqlite://{path} names a host and no file; with three slashes it is a "
            f"path, sqlite:///{path}, and with four an absolute one, sqlite:////srv/{path}"
        )
