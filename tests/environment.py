"""The environment of a test run: its own secret, folders and database, and nothing inherited.

A plugin of pytest, loaded before pytest-django reads the settings. The application runs on SQLite
or, with ``TEST_DATABASE=mariadb``, on a MariaDB that lives as long as the run.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers import MariaDB

if TYPE_CHECKING:
    from collections.abc import Generator

FOLDER = Path(tempfile.mkdtemp(prefix="regions-tests-"))
"""Where everything that the run writes lies; removed at its end."""

SHARED = "TEST_MARIADB_URL"
"""The variable that tells the processes of a run the server that its first process has started."""

atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests() -> Generator[None, None, None]:
    for name in list(os.environ):
        if name.startswith(("MEMCACHED_", "MEMCACHIER_")):
            del os.environ[name]
    # A shell that starts the run in the background has it ignore Ctrl-C. Tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["SECRET_KEY"] = secrets.token_urlsafe(48)
    os.environ["REGIONS_DATA_DIR"] = str(FOLDER / "regions")
    os.environ["STATIC_ROOT"] = str(FOLDER / "static")
    os.environ["DATABASE_URL"] = _database_url(os.environ.get("TEST_DATABASE", "sqlite"))
    yield


def _database_url(kind: str) -> str:
    if kind == "sqlite":
        return f"sqlite:///{FOLDER / 'db.sqlite3'}"
    if kind == "mariadb":
        if SHARED not in os.environ:  # else this is one of several processes of one run
            server = MariaDB(FOLDER / "mariadb")
            server.start()
            atexit.register(server.stop)
            os.environ[SHARED] = server.url
        return os.environ[SHARED]
    raise pytest.UsageError(f"TEST_DATABASE={kind}: use sqlite or mariadb")
