"""What the settings of a database do when it is in trouble."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
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
