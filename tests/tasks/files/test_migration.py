"""Files that were imported before the index had folders."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from tasks.files.folders import placing
from tests.serving import migrate

if TYPE_CHECKING:
    from pathlib import Path


def test_files_are_in_the_folders_of_their_paths(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"

    paths = ["a.txt", "In/b c.txt", "In/deep/É" + "x" * 300, *(f"many/{n}" for n in range(1000))]
    migrate(database, "tasks", "0002")
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.executemany(
            "INSERT INTO tasks_importedfile (path_digest, path, size, media_type, digest, source,"
            " version, root, imported_at) VALUES (?, ?, 1, '', '', '', '', '', '2030-01-01')",
            [(str(number), path) for number, path in enumerate(paths)],
        )
        connection.commit()
    migrate(database)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT path, folder, sort_name FROM tasks_importedfile")
        found = {path: {"folder": folder, "sort_name": name} for path, folder, name in rows}
    assert found == {path: placing(path) for path in paths}
