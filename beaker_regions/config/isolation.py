"""Where the regions of a test run lie: in a folder of its own, with a secret of its own.

The environment says so, and a process that a test starts inherits that. Whatever the type of a
region is, it is kept in files then: tests need no server, and reach nothing of development's.
Options are checked all the same.
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
"""The environment variable with the folder of the test that runs. Its last part is the secret;
nobody else can read the folder that it lies in."""


def folder() -> Path | None:
    """Return the folder of the test that runs; None: the regions are as they are configured."""
    if VARIABLE not in os.environ and _is_test_command():
        isolate()
    found = os.environ.get(VARIABLE)
    return Path(found) if found else None


def isolate() -> None:
    """Let the regions that are made from now on, in this process and those that it starts, be
    those of a test run. Its folder is removed when this process ends."""
    root = Path(tempfile.mkdtemp(prefix="regions-tests-"))
    atexit.register(_remove, root, os.getpid())
    os.environ[VARIABLE] = str(root / secrets.token_hex(16))


def next_folder() -> Path | None:
    """Go on to an empty folder, with another secret, and return it; None: none is isolated."""
    former = folder()
    if former is None:
        return None
    found = former.with_name(secrets.token_hex(16))
    os.environ[VARIABLE] = str(found)
    return found


def _is_test_command() -> bool:
    """Whether this is ``manage.py test``, which has no moment before settings and models, and so
    a manager, are imported."""
    return sys.argv[1:2] == ["test"] and "DJANGO_SETTINGS_MODULE" in os.environ


def _remove(root: Path, process: int) -> None:
    if os.getpid() == process:  # and not a fork of it
        shutil.rmtree(root, ignore_errors=True)
