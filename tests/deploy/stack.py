"""The complete deployed site: nginx, two application servers, three memcached, one MariaDB."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.deploy.site import ROOT, Application, Nginx
from tests.servers import MariaDB, Memcached

_PREPARE = """
import sys
import django
from django.core.management import call_command
django.setup()
call_command("migrate", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
if sys.argv[1:]:
    call_command("import_data", *sys.argv[1:])
"""


class Stack:
    """The site's servers. ``environment`` is that of the application servers."""

    def __init__(
        self,
        folder: Path,
        programs: tuple[str, str],
        memcached: list[Memcached],
        environment: dict[str, str],
    ) -> None:
        self.environment = environment
        self.memcached = memcached
        self.applications = [Application(program, environment) for program in programs]
        first, second = (application.port for application in self.applications)
        self.nginx = Nginx(folder, (first, second), environment)

    def application(self, program: str) -> Application:
        """Return the first application server that is this program."""
        return next(each for each in self.applications if each.program == program)


@contextlib.contextmanager
def deployed(
    folder: Path, programs: tuple[str, str], imported: Path | None = None
) -> Iterator[Stack]:
    """Run the site, with data in ``folder``, and with the files of the folder ``imported``."""
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
        environment = {
            "DJANGO_SETTINGS_MODULE": "settings.production",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "ALLOWED_HOSTS": "localhost",
            "DATABASE_URL": database.url,
            "MEMCACHED_SERVERS": ",".join(server.address for server in memcached),
            "REGIONS_DATA_DIR": str(folder / "regions"),
            "STATIC_ROOT": str(folder / "static"),
            "X_ACCEL_REDIRECT": "/protected/",
            "HOST": "127.0.0.1",
            "WEB_CONCURRENCY": "2",
        }
        stack = Stack(folder / "nginx", programs, memcached, environment)
        subprocess.run(
            [sys.executable, "-c", _PREPARE, *([str(imported)] if imported else [])],
            cwd=ROOT,
            env=os.environ | environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for each in (*stack.applications, stack.nginx):
            each.start()
            servers.callback(each.stop)
        yield stack
