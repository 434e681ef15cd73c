"""What runs on the hosts: memcached or Redis, a MariaDB, a file origin, application processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.cluster.board import Board
from bench.cluster.files import Changes
from bench.cluster.network import Host
from bench.origin import Origin
from tests.servers import MariaDB, Memcached, Redis, Server

ROLES = ("write", "read", "read")
"""The processes of an application host."""
APPLICATIONS = ("a", "b", "c")
START_SECONDS = 60


class OpenMemcached(Memcached):
    """Listens on all of its host's addresses."""

    def command(self) -> list[str]:
        return _opened(super().command())


class OpenRedis(Redis):
    """Listens on all of its host's addresses."""

    def command(self) -> list[str]:
        return [*_opened(super().command()), "--protected-mode", "no"]


class OpenMariaDB(MariaDB):
    """Listens on all of its host's addresses."""

    def command(self) -> list[str]:
        return [*_opened(super().command()), "--skip-name-resolve"]


def _opened(command: list[str]) -> list[str]:
    return [argument.replace("127.0.0.1", "0.0.0.0") for argument in command]


@dataclass
class Application:
    """A host with the application's processes on it."""

    host: Host
    index: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def numbers(self) -> range:
        """Return its workers' places on the board."""
        return range(self.index * len(ROLES), (self.index + 1) * len(ROLES))


class Cluster:
    """All of it. ``applications`` is how many of the application hosts there are, ``timeout`` the
    seconds that a server of entries may take; those are Redis if ``on_redis``."""

    def __init__(
        self, folder: Path, applications: int, timeout: float, *, on_redis: bool = False
    ) -> None:
        self._folder, self._timeout, self._on_redis = folder, timeout, on_redis
        self.board = Board(folder / "board")
        self.database_host = Host("db", 100)
        self.database = OpenMariaDB(folder / "mariadb")
        self.caches: dict[str, tuple[Host, OpenMemcached | OpenRedis]] = {}
        with self.database_host.inside():
            self.database.start()
        for number in (1, 2, 3):
            host = Host(f"m{number}", number)
            server = OpenRedis() if on_redis else OpenMemcached()
            server.port = 11211
            with host.inside():
                server.start()
            self.caches[host.name] = (host, server)
        self.origin_host = Host("origin", 101)
        self._changes = Changes(folder / "origin", self.board)
        with self.origin_host.inside():
            # Its threads are on no host; what it listens at is.
            self.origin = Origin(folder / "origin", self.origin_host.address)
        self._changes.start()
        self.applications = [
            Application(Host(name, 10 + index), index)
            for index, name in enumerate(APPLICATIONS[:applications])
        ]
        self._create_database()
        if self._start(self.applications[0], "prepare", 0).wait():
            raise RuntimeError("the tables cannot be made")

    def _create_database(self) -> None:
        client = ["mariadb", "--no-defaults", "--user=root", "--host=127.0.0.1"]
        with self.database_host.inside():
            subprocess.run(
                [*client, f"--port={self.database.port}"],
                input=b"CREATE DATABASE cluster CHARACTER SET utf8mb4;"
                b"CREATE USER app@'%'; GRANT ALL ON *.* TO app@'%'",
                check=True,
            )

    @property
    def hosts_of_caches(self) -> list[Host]:
        return [host for host, _ in self.caches.values()]

    def servers(self, **weights: float) -> str:
        """Return the addresses of the servers of entries, as a region's ``url``; those named here
        with their weights, or left out when that is below 0."""
        found = []
        scheme = "redis://" if self._on_redis else ""
        for name, (host, server) in self.caches.items():
            weight = weights.get(name, 1)
            if weight >= 0:
                found.append(f"{scheme}{host.address}:{server.port}?weight={weight:g}")
        return ",".join(found)

    def deploy(
        self,
        application: Application,
        *,
        servers: str | None = None,
        release: int = 1,
        clock: float = 0,
        tags_only: bool = False,
    ) -> None:
        """End the host's processes, if any, and start others; return when all have answered.
        ``clock`` is how far its time of day is off, seconds."""
        self.end(application, signal.SIGTERM)
        options = [
            f"--servers={servers or self.servers()}",
            f"--timeout={self._timeout}",
            f"--release={release}",
            f"--origin={self.origin.url}",
        ]
        if tags_only:
            options.append("--tags-only")
        for role, number in zip(ROLES, application.numbers(), strict=True):
            self.board.set_ready(number, False)
            application.processes.append(
                self._start(application, role, number, *options, clock=clock)
            )
        deadline = time.monotonic() + START_SECONDS
        while not all(map(self.board.is_ready, application.numbers())):
            for process in application.processes:
                if process.poll() is not None:
                    raise RuntimeError(f"a worker ended with status {process.returncode}")
            if time.monotonic() > deadline:
                raise RuntimeError("workers do not start")
            time.sleep(0.05)

    def _start(
        self,
        application: Application,
        role: str,
        number: int,
        *options: str,
        clock: float = 0,
    ) -> subprocess.Popen[bytes]:
        address = f"{self.database_host.address}:{self.database.port}"
        environment = {**os.environ, "DATABASE_URL": f"mysql://app@{address}/cluster"}
        with application.host.inside():
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "bench.cluster.worker", role, f"--number={number}"),
                    *(f"--board={self._folder / 'board'}", f"--host={application.index}"),
                    f"--folder={self._folder / application.host.name}",
                    f"--hosts={len(self.applications)}",
                    f"--clock={clock}",
                    *options,
                ],
                env=environment,
            )

    def end(self, application: Application, how: int = signal.SIGKILL) -> None:
        """End the host's processes."""
        for process in application.processes:
            process.send_signal(how)
        for process in application.processes:
            process.wait()
        application.processes.clear()

    def stop(self) -> None:
        self._changes.ended.set()
        self._changes.join()
        for application in self.applications:
            self.end(application)
        servers: list[Server] = [self.database, *(server for _, server in self.caches.values())]
        for server in servers:
            server.kill()
