"""The isolation of test runs: their regions have a folder and a secret of their own.

An environment variable names the folder, so that a process started by a test inherits it. In a
test run a region of any type is kept in files: tests need no server, and never touch the data of
development. Options are checked as usual.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

VARIABLE = "REGIONS_TESTS"
"""The environment variable with the folder of the running test. The last part of the path is the
secret; other users cannot read the folder above it."""


def folder() -> Path | None:
    """Return the folder of the running test. None: regions are not isolated."""
    if VARIABLE not in os.environ and _is_test_command():
        isolate()
    found = os.environ.get(VARIABLE)
    return Path(found) if found else None


def isolate() -> None:
    """Isolate the regions that are made from now on, in this process and in those that it starts.
    The folder is removed when this process ends."""
    root = Path(tempfile.mkdtemp(prefix="regions-tests-"))
    atexit.register(_remove, root, os.getpid())
    os.environ[VARIABLE] = str(root / secrets.token_hex(16))


def next_folder() -> Path | None:
    """Change to an empty folder with another secret, and return it. None: not isolated."""
    former = folder()
    if former is None:
        return None
    found = former.with_name(secrets.token_hex(16))
    os.environ[VARIABLE] = str(found)
    return found


def _is_test_command() -> bool:
    """Whether this is ``manage.py test``, which imports settings, models and so a manager before
    any code of a test runs."""
    return sys.argv[1:2] == ["test"] and "DJANGO_SETTINGS_MODULE" in os.environ


def _remove(root: Path, process: int) -> None:
    if os.getpid() == process:  # not in a fork
        shutil.rmtree(root, ignore_errors=True)
