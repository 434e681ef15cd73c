"""Rows of every former release are kept by the migrations to this one."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from tasks.files.folders import placing
from tasks.models import ImportedFile, Task, latest_position

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = "tasks"
PATHS = ["a.txt", "In/b c ß.txt", "In/deep/É" + "x" * 250, *(f"many/{n}" for n in range(1000))]
"""Of files that were imported before the index had folders."""


def releases() -> list[str]:
    """Return the names of the migrations, the first one first."""
    found = MigrationExecutor(connection).loader.graph.nodes
    return sorted(name for app, name in found if app == APP)


def migrate(name: str | None) -> Any:
    """Migrate to a release; return its models."""
    return MigrationExecutor(connection).migrate([(APP, name)]).apps


@pytest.fixture
def _latest(transactional_db: None) -> Iterator[None]:
    yield
    migrate(releases()[-1])


def file(path: str, **more: object) -> dict[str, Any]:
    named = {"path": path, "path_digest": PATHS.index(path), "source": f"/srv/{path}"}
    return {**named, "size": 1, "imported_at": timezone.now(), **more}


@pytest.mark.usefixtures("_latest")
def test_tasks_and_files_of_every_former_release_are_kept() -> None:
    migrate(None)
    first, second, *_ = names = releases()
    for name in names:
        models = migrate(name)
        files, tasks = models.get_model(APP, "ImportedFile"), models.get_model(APP, "Task")
        if name == first:
            list_id = models.get_model(APP, "TaskList").objects.create().pk
            files.objects.create(**file("a.txt", source_mtime_ns=5))
        if name == second:
            files.objects.bulk_create(files(**file(path)) for path in PATHS[1:])
        tasks.objects.create(list_id=list_id, name=name)

    found = Task.objects.filter(list=list_id)
    assert [task.name for task in found] == names[::-1]
    positions = [latest_position(), *(task.position for task in found)]
    assert all(one - other > 1 for one, other in pairwise(positions)), "room, also above them all"
    rows = {row.path: row for row in ImportedFile.objects.all()}
    places = {
        path: {"folder": row.folder, "sort_name": row.sort_name} for path, row in rows.items()
    }
    assert places == {path: placing(path) for path in PATHS}
    assert (rows["a.txt"].version, rows["a.txt"].root) == ("5", "/srv")
