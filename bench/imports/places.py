"""A place to import to, and the programs that run there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KB, MB = 1024, 1024 * 1024
RUN = """
import django, sys
django.setup()
from django.core.management import call_command
call_command("import_data", *sys.argv[1:])
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""
"""An import that ends with its own peak memory, in KB."""
CHECK = """
import django, hashlib, sys
django.setup()
from tasks.files.index import file_row
from tasks.files.content import content_of
from tasks.models import ImportedFile
wanted = dict(line.rstrip("\\n").split("  ")[::-1] for line in open(sys.argv[1]))
for pk in ImportedFile.objects.values_list("pk", flat=True):
    row = file_row(pk)
    with content_of(row).open() as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == wanted[row.path]:
            del wanted[row.path]
print(len(wanted))
"""
"""Prints how many files of a manifest are not stored as it has them."""


class Place:
    """Somewhere to import to: a region and a database of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.environ = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "settings.development",
            "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
            "REGIONS_DATA_DIR": str(folder / "regions"),
            "SECRET_KEY": os.urandom(32).hex(),
        }
        migrated = folder.parent / "migrated.sqlite3"
        if not migrated.exists():
            self.run(["manage.py", "migrate", "--verbosity=0"])
            shutil.copy(folder / "db.sqlite3", migrated)
        shutil.copy(migrated, folder / "db.sqlite3")

    def run(self, arguments: list[str]) -> list[str]:
        """Run Python; return the lines that it prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environ,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.stdout.split("\n")

    def bring(self, source: str, *orders: str) -> float:
        """Import; return the peak memory in MB."""
        return int(self.run(["-c", RUN, source, *orders])[-2]) / KB
