"""The deployed site: nginx before Gunicorn and uWSGI, three memcached, one MariaDB."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.site import ROOT, Application, Nginx, where_to_download
from tests.servers import MariaDB, Memcached

NAME = "grün & <gelb> 100% “x”.txt"
CONTENT = "".join(f"{number:07}\n" for number in range(10_000)).encode()

PREPARE = """
import sys
import django
from django.core.management import call_command
django.setup()
call_command("migrate", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
call_command("import_data", sys.argv[1])
"""


class Stack:
    """The site's servers, and what they run with."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.environment = environment
        self.gunicorn = Application("gunicorn", environment)
        self.uwsgi = Application("uwsgi", environment)
        ports = (self.gunicorn.port, self.uwsgi.port)
        self.nginx = Nginx(folder, ports, environment["REGIONS_DATA_DIR"])

    def prepare(self, source: Path) -> None:
        """Do what is done before a site is started, and import a folder."""
        subprocess.run(
            [sys.executable, "-c", PREPARE, str(source)],
            cwd=ROOT,
            env=os.environ | self.environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("deployed")
    source = folder / "source"
    source.mkdir()
    (source / NAME).write_bytes(CONTENT)
    with contextlib.ExitStack() as servers:
        database = MariaDB(folder / "mariadb")
        memcached = [Memcached() for _ in range(3)]
        for server in (database, *memcached):
            server.start()
            servers.callback(server.stop)
        subprocess.run(
            [
                *("mariadb", "--no-defaults", "--host=127.0.0.1", f"--port={database.port}"),
                *("--user=root", "--execute=CREATE DATABASE tasks CHARACTER SET utf8mb4"),
            ],
            check=True,
        )
        stack = Stack(
            folder / "nginx",
            {
                "DJANGO_SETTINGS_MODULE": "settings.production",
                "SECRET_KEY": secrets.token_urlsafe(48),
                "ALLOWED_HOSTS": "localhost",
                "DATABASE_URL": database.url,
                "MEMCACHED_SERVERS": ",".join(server.address for server in memcached),
                "REGIONS_DATA_DIR": str(folder / "regions"),
                "X_ACCEL_REDIRECT": "/protected/",
                "HOST": "127.0.0.1",
                "WEB_CONCURRENCY": "2",
            },
        )
        stack.prepare(source)
        for server in (stack.gunicorn, stack.uwsgi, stack.nginx):
            server.start()
            servers.callback(server.stop)
        yield stack


@pytest.fixture(scope="package")
def nginx(stack: Stack) -> Nginx:
    return stack.nginx


@pytest.fixture(scope="package")
def where(nginx: Nginx) -> str:
    """Where the imported file is to be downloaded."""
    return where_to_download(nginx)
