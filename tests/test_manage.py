"""The command line: a mistake in the configuration is one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_wrong_variable_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "REGIONS_FILES_EXPIRE": "1h"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("ConfigurationError: REGIONS_FILES_EXPIRE = '1h': give a number of")
