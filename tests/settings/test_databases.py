"""What the settings of a database do when it is in trouble."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.db.utils import ConnectionHandler

from settings.databases import database
from tests.servers import MariaDB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_django import DjangoDbBlocker


@pytest.fixture
def mariadb(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[MariaDB]:
    server = MariaDB(tmp_path / "data")
    server.start()
    with django_db_blocker.unblock():
        yield server
    server.stop()


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        ("sqlite://db.sqlite3", "sqlite:///db.sqlite3"),
        ("sqlite://db.sqlite3?timeout=5", "sqlite:///db.sqlite3"),
        ("sqlite://", "sqlite:///path/of/file"),
        ("sqlite:", "sqlite:///path/of/file"),
        ("sqlite:///", "sqlite:///path/of/file"),
        ("sqlite://:memory:", "sqlite:///path/of/file"),
        ("sqlite:///:memory:", "sqlite:///path/of/file"),
        ("sqlite://var/db.sqlite3", "sqlite:///var/db.sqlite3"),
        ("sqlite://me:secret@host/db.sqlite3", "sqlite:///db.sqlite3"),
        ("mysql://me:secret@host:3306/", "mysql://user:password@host:port/name"),
        ("mysql://me:secret@host", "mysql://user:password@host:port/name"),
        ("postgres://host:5432", "postgres://user:password@host:port/name"),
        ("db.sqlite3", "sqlite:///path/of/file"),
        ("mysql://host:port/name", "mysql://user:password@host:port/name"),
        ("oracle://host/name", "use sqlite, mysql or postgres"),
    ],
)
def test_a_url_that_means_nothing_is_refused_with_the_right_form(url: str, mend: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL") as refused:
        database(url)
    assert mend in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:///db.sqlite3", "db.sqlite3"),
        ("sqlite:////srv/tasks/db.sqlite3", "/srv/tasks/db.sqlite3"),
        ("sqlite:///var/db.sqlite3?timeout=5", "var/db.sqlite3"),
        ("mysql://me:secret@host:3306/tasks", "tasks"),
        ("postgres://me:secret@host/tasks", "tasks"),
    ],
)
def test_a_url_that_names_a_database_is_taken(url: str, name: str) -> None:
    assert database(url)["NAME"] == name


@pytest.mark.parametrize("waits_for", ["an answer", "a question's receipt"])
def test_a_mariadb_that_hangs_is_an_error_after_its_time(mariadb: MariaDB, waits_for: str) -> None:
    without_tables = mariadb.url.removesuffix("tasks") + "mysql"
    limits = database(without_tables)["OPTIONS"]
    assert 0 < limits["read_timeout"] < 60
    assert 0 < limits["write_timeout"] < 60
    shorter = database(f"{without_tables}?read_timeout=1&write_timeout=1")
    connection = ConnectionHandler({"default": shorter})["default"]
    asked = "SELECT 1" if waits_for == "an answer" else f"SELECT '{'x' * 10_000_000}'"
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        mariadb.pause()
        with pytest.raises(OperationalError):
            cursor.execute(asked)
    mariadb.resume()
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
    connection.close()
