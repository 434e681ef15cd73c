"""The example of coroutine functions, run as its users run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples/asyncio/prices.py"
PRINTED = """\
1000 callers paid {3}; requests so far: 1
after a change they paid {5}; requests so far: 2
apples and pears cost [5, 4]; requests so far: 3
the service is away; apples cost 5
"""


@pytest.mark.parametrize("store", ["files", "memcached"])
def test_many_callers_load_once_and_see_each_change(
    request: pytest.FixtureRequest, store: str
) -> None:
    environ = dict(os.environ)
    if store == "memcached":
        environ["MEMCACHED_SERVERS"] = request.getfixturevalue("memcached").address
    done = subprocess.run([sys.executable, SCRIPT], env=environ, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (PRINTED, "")
