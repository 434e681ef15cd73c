"""An application process: reads rows and files through cached functions, or changes rows.

Its servers, release and place come on the command line; the first argument is what it does.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import django
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import connection, transaction
from django.utils import timezone

from beaker_regions import CacheManager, parse_cache_config_options
from beaker_regions.api.function import CachedFunction
from bench.cluster import files
from bench.cluster.board import FILES, KEYS, Board

READS = 8
"""Rows a request; and one file."""
PACE = 0.004
"""Seconds between two requests, at most twice."""
PAUSE = 0.03
"""Seconds between two changes, at most twice."""

Versions = CachedFunction[..., int]


def version_in_database(key: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT version FROM cluster_rows WHERE id = %s", [key])
        (version,) = cursor.fetchone()
    return int(version)


def declare(cache: CacheManager, release: int, loaded: Callable[[], None]) -> Versions:
    """Return the cached function as a release of the application has it.

    Odd keys are invalidated by tag, the others by call. The third release has another signature,
    and its calls are other entries than those of the releases before it: tags are what the
    releases of such a function have in common.
    """
    if release < 3:

        @cache.region("functions", tags=["row:{key}"], version=release)
        def version_of(key: int) -> int:
            loaded()
            return version_in_database(key)

        return version_of

    @cache.region("functions", tags=["row:{key}"])
    def version_with(key: int, at_least: int = 0) -> int:
        loaded()
        return max(version_in_database(key), at_least)

    return version_with


def by_tag(key: int, release: int) -> bool:
    return key % 2 == 1 or release >= 3


class Worker:
    def __init__(self, given: argparse.Namespace) -> None:
        self.number: int = given.number
        self.release: int = given.release
        self.tags_only: bool = given.tags_only
        self.board = Board(given.board)
        self.cache = CacheManager(
            **parse_cache_config_options(
                {
                    "cache.regions": "functions, files",
                    "cache.secret": "of the cluster on one machine",
                    "cache.functions.type": (
                        "ext:redis" if "redis:" in given.servers else "ext:memcached"
                    ),
                    "cache.functions.url": given.servers,
                    "cache.functions.timeout": given.timeout,
                    "cache.functions.expire": 3600,
                    "cache.functions.data_dir": given.folder,
                    **files.options(given.folder),
                }
            )
        )
        self.version_of = declare(self.cache, self.release, lambda: self.count("loads"))
        self.file_of = files.declare(self.cache, given.origin, lambda: self.count("fetched"))

    def count(self, what: str) -> None:
        self.board.add(self.number, what)

    def read(self) -> None:
        """Answer requests, for ever."""
        board, number = self.board, self.number
        for file in range(FILES):
            self.read_file(file)
        while True:
            request_started.send(sender=None)
            for key in random.sample(range(KEYS), READS):
                announced, started = board.announced(key), time.monotonic_ns()
                try:
                    version = self.version_of(key)
                except Exception:
                    self.count("errors")
                else:
                    if version < announced:
                        self.count("stale")
                        board.greatest(number, "oldest", board.age(key, version, started))
                self.count("reads")
                board.greatest(number, "worst", time.monotonic_ns() - started)
            self.read_file(random.randrange(FILES))
            board.set_ready(number, True)
            request_finished.send(sender=None)
            time.sleep(random.uniform(0, 2 * PACE))

    def read_file(self, file: int) -> None:
        board, number = self.board, self.number
        announced, started = board.announced(KEYS + file), time.monotonic_ns()
        try:
            version = files.version_in(self.file_of(file).read_bytes())
        except Exception:
            self.count("files failed")
        else:
            if version < announced:
                board.greatest(number, "oldest file", board.age(KEYS + file, version, started))
        self.count("files")
        board.greatest(number, "worst file", time.monotonic_ns() - started)

    def write(self, keys: range) -> None:
        """Change rows, for ever."""
        while True:
            request_started.send(sender=None)
            key, started = random.choice(keys), time.monotonic_ns()
            try:
                version = self.change(key)
            except Exception:
                # It is not known whether it is committed; the next change of the row shows it.
                self.count("errors")
            else:
                self.board.announce(key, version, time.monotonic_ns())
                self.count("writes")
            self.board.greatest(self.number, "worst", time.monotonic_ns() - started)
            self.board.set_ready(self.number, True)
            request_finished.send(sender=None)
            time.sleep(random.uniform(0, 2 * PAUSE))

    def change(self, key: int) -> int:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("UPDATE cluster_rows SET version = version + 1 WHERE id=%s", [key])
            version = version_in_database(key)
            if self.tags_only or by_tag(key, self.release):
                self.cache.invalidate_tags(f"row:{key}")
            else:
                self.version_of.invalidate(key)
        return version


def set_clock(off: float) -> None:
    """Let the time of day of this process be ``off`` seconds off, for all code that asks Python
    for it; waits and time-outs go by another clock."""
    right = time.time
    time.time = lambda: right() + off
    timezone.now = lambda: datetime.now(UTC) + timedelta(seconds=off)


def prepare() -> None:
    """Make the tables."""
    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE cluster_rows (id INT PRIMARY KEY, version BIGINT NOT NULL)")
        cursor.executemany(
            "INSERT INTO cluster_rows VALUES (%s, 0)", [(key,) for key in range(KEYS)]
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["prepare", "read", "write"])
    parser.add_argument("--board", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--number", type=int)
    parser.add_argument("--servers")
    parser.add_argument("--origin")
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--release", type=int, default=1)
    parser.add_argument("--tags-only", action="store_true")
    parser.add_argument("--host", type=int)
    parser.add_argument("--hosts", type=int)
    parser.add_argument("--clock", type=float, default=0)
    given = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.cluster.settings"
    django.setup()
    set_clock(given.clock)
    # At an orderly end, leases are given back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    logging.disable()  # of outages that are meant
    if given.role == "prepare":
        prepare()
    elif given.role == "read":
        Worker(given).read()
    else:
        Worker(given).write(range(given.host, KEYS, given.hosts))


if __name__ == "__main__":
    main()
