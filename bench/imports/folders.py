"""A tree of small files, imported for the first time, and again unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.imports import trees
from bench.imports.turns import Case, Command, Import

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def cases(folder: Path, files: int) -> Iterator[Case]:
    """Make a tree of this many files; yield the work."""
    source = folder / "tree"
    size = trees.make(source, files)
    yield Case(
        f"{files:,} small files",
        files,
        size,
        {
            "rsync -a": Command("rsync", "-a", f"{source}/", "{}/copy"),
            "restic backup": Command(
                *("restic", "-q", "-r", "{}/repository", "backup", str(source)),
                before=("restic", "-q", "init", "-r", "{}/repository"),
                environ="RESTIC_PASSWORD=of the bench",
            ),
            "import_data": Import(str(source)),
            "import_data --jobs 1": Import(str(source), "--jobs=1"),
            "import_data --jobs 4": Import(str(source), "--jobs=4"),
            "rclone copy": Command("rclone", "-q", "copy", str(source), "{}/copy"),
        },
        ("rsync -a", "restic backup"),
        ("first", "again, unchanged"),
        once=("rclone copy", "import_data --jobs 4"),
    )
