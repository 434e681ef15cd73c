"""What the declared tags of a model add to its writes, as ratios.

    python -m bench.models [--quick]

Two models have the same columns; one declares its tags. Their writes take turns, on SQLite and on a
MariaDB of this run. By hand, ``cache.invalidate_tags`` is called with two tags after the write.
"Found alone" finds the tags of the rows and does not invalidate them. The region is on files.
Statements are counted, without those that begin and end a transaction.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from operator import truediv
from pathlib import Path
from typing import Any
from unittest import mock

import django
from django.conf import settings

from bench.report import Row, arguments, report
from tests.servers import MariaDB

MANY = 10_000
LISTS = 100
"""Lists that the rows belong to."""


def set_up(folder: Path, server: MariaDB) -> None:
    """Set up Django with both databases; the manager of a region on files is Django's."""
    from settings.databases import database

    settings.configure(
        DATABASES={
            "default": database(f"sqlite:///{folder / 'db.sqlite3'}"),
            "mariadb": database(server.url),
        },
        INSTALLED_APPS=["beaker_regions.django"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()
    from beaker_regions import CacheManager, parse_cache_config_options
    from beaker_regions.django import use_manager

    config = {"type": "file", "data_dir": folder / "regions", "secret": "of the bench"}
    options = {f"cache.bench.{name}": value for name, value in config.items()}
    use_manager(CacheManager(**parse_cache_config_options({"cache.regions": "bench", **options})))


def make_models() -> tuple[Any, Any]:
    """Return a model without tags, and one with them."""
    from django.db import models

    from beaker_regions.django import declare_row_tags

    def model(name: str) -> Any:
        return type(
            name,
            (models.Model,),
            {
                "__module__": __name__,
                "Meta": type("Meta", (), {"app_label": "regions"}),
                "list_id": models.BigIntegerField(db_index=True),
                "name": models.CharField(max_length=255),
                "done": models.BooleanField(default=False),
            },
        )

    plain, watched = model("Plain"), model("Watched")
    declare_row_tags(watched, "list:{list_id}")
    return plain, watched


class Writes:
    """The writes of one model on one database."""

    def __init__(self, model: Any, using: str) -> None:
        self.model, self.using = model, using
        self.rows = model.objects.using(using)
        self.number = 0

    def begin(self, rows: int) -> None:
        self.rows.all().delete()
        self.rows.bulk_create(self._made(rows), batch_size=1000)
        self.row = self.rows.first()

    def _made(self, rows: int) -> list[Any]:
        return [self.model(list_id=number % LISTS, name=f"task {number}") for number in range(rows)]

    def save(self) -> None:
        self.row.name = f"name {time.time_ns()}"
        self.row.save(using=self.using)

    def create(self) -> None:
        self.rows.create(list_id=1, name="new")

    def update_of_one(self) -> None:
        self.rows.filter(pk=self.row.pk).update(name=f"name {time.time_ns()}")

    def bulk_create(self) -> None:
        self.rows.bulk_create(self._made(MANY), batch_size=1000)

    def update(self) -> None:
        self.number += 1
        self.rows.update(name=f"name {self.number}")


def measure(plain: Writes, watched: Writes, name: str, repeat: int, *, atomic: bool) -> Row:
    """Return the time of one write of each, in turns."""
    from django.db import connections, transaction
    from django.test.utils import CaptureQueriesContext

    from beaker_regions.django import manager as django_manager
    from beaker_regions.django.models.changes import Changes

    def once(writes: Writes, invalidate: Callable[[], None] = lambda: None) -> float:
        write: Callable[[], None] = getattr(writes, name)
        began = time.perf_counter()
        with transaction.atomic(using=writes.using) if atomic else nullcontext():
            write()
            invalidate()
        return time.perf_counter() - began

    def by_hand() -> None:
        manager = django_manager._manager
        assert manager is not None
        manager.invalidate_tags("list:1", "regions.Plain")

    def unseen(_: Changes) -> None:
        pass

    def found_alone() -> float:
        with mock.patch.object(Changes, "invalidate", unseen):
            return once(watched)

    def emptied(measured: Callable[[], float]) -> float:
        if name == "bulk_create":
            for writes in (plain, watched):
                writes.rows.all()._raw_delete(writes.using)
        return measured()

    is_many = name in ("bulk_create", "update")
    statements = []
    for writes in (plain, watched):
        writes.begin(100 if name == "bulk_create" else MANY if is_many else 100)
        with CaptureQueriesContext(connections[writes.using]) as captured:
            once(writes)
        kept = [each["sql"].split()[0] for each in captured.captured_queries]
        statements.append(sum(word in ("SELECT", "INSERT", "UPDATE") for word in kept))
    contenders: tuple[Callable[[], float], ...] = (
        lambda: once(plain),
        lambda: once(plain, by_hand),
        lambda: once(watched),
        found_alone,
    )
    taken = [[emptied(each) for each in contenders] for _ in range(repeat)]
    without, hand, tags, found = ([each[place] * 1e3 for each in taken] for place in range(4))

    def ratio(first: list[float], second: list[float]) -> float:
        return round(float(statistics.median(map(truediv, first, second))), 3)

    return {
        "database": watched.using.replace("default", "sqlite"),
        "write": name.replace("_", " ") + (f" of {MANY:,}" if is_many else ""),
        "in a transaction": "yes" if atomic else "no",
        "ms without": round(statistics.median(without), 4),
        "ms by hand": round(statistics.median(hand), 4),
        "ms with tags": round(statistics.median(tags), 4),
        "to by hand": ratio(tags, hand),
        "to without": ratio(tags, without),
        "found alone, to without": ratio(found, without),
        "statements without": statements[0],
        "statements with": statements[1],
    }


def main() -> None:
    given = arguments(__doc__)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        server = MariaDB(Path(name) / "mariadb")
        server.start()
        try:
            set_up(Path(name), server)
            models = make_models()
            from django.db import connections

            with connections["mariadb"]._nodb_cursor() as cursor:
                cursor.execute("CREATE DATABASE tasks CHARACTER SET utf8mb4")
            for using in ("default", "mariadb"):
                with connections[using].schema_editor() as editor:
                    for model in models:
                        editor.create_model(model)
                plain, watched = (Writes(model, using) for model in models)
                for write, repeat in (
                    ("save", 100),
                    ("create", 100),
                    ("update_of_one", 100),
                    ("bulk_create", 5),
                    ("update", 10),
                ):
                    for atomic in (False, True):
                        least = max(3, repeat // 10) if given.quick else repeat
                        rows.append(measure(plain, watched, write, least, atomic=atomic))
        finally:
            server.stop()
    report("models", given, {"rows of many": MANY, "lists": LISTS}, rows)


if __name__ == "__main__":
    main()
