"""A tree of small files, imported for the first time, and again unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.imports import trees
from bench.imports.turns import Case, Command, Import

if TYPE_CHECKING:
    from pathlib import Path


def case(folder: Path, files: int) -> Case:
    """Make a tree of this many files; return the work."""
    source = folder / "tree"
    size = trees.make(source, files)
    return Case(
        "small files",
        files,
        size,
        {
            "rsync -a": Command("rsync", "-a", f"{source}/", "{}/copy"),
            "rclone copy": Command("rclone", "copy", str(source), "{}/copy"),
            "restic backup": Command(
                *("restic", "-q", "-r", "{}/repository", "backup", str(source)),
                before=("restic", "-q", "init", "-r", "{}/repository"),
                environ="RESTIC_PASSWORD=of the bench",
            ),
            "import_data": Import(str(source)),
            "import_data --jobs 1": Import(str(source), "--jobs=1"),
            "import_data --jobs 4": Import(str(source), "--jobs=4"),
        },
        "rsync -a",
        ("first", "again, unchanged"),
    )
