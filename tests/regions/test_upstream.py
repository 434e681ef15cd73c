"""The tests that cachelib and dogpile.cache have of their own caches pass on ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers import Memcached

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
OURS = Path(__file__).parent / "upstream"
THEIRS = ROOT / ".venv" / "upstream-tests"
STORES = ("file", "ext:memcached")
SUITES = {
    "cachelib": [str(OURS / "cachelib_on_region.py")],
    "dogpile": [str(OURS / "dogpile_on_region.py")],
}
FEWEST = {"cachelib": 16, "dogpile": 27}
"""How many tests each has at least: one that finds none has passed nothing."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All at once: most of the time they sleep, until something has expired."""
    subprocess.run(["scripts/install-upstream-tests.sh"], cwd=ROOT, check=True)
    server = Memcached()
    server.start()
    started = {}
    for suite, files in SUITES.items():
        for store in STORES:
            folder = tmp_path_factory.mktemp("upstream")
            options: dict[str, object] = {"type": store, "secret": "of the tests"}
            if store == "file":
                options["data_dir"] = str(folder / "regions")
            else:
                # A machine that is busy with tests is no fault.
                options |= {"url": server.address, "timeout": 10, "prefix": suite}
            started[f"{suite} on {store}"] = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", folder),
                    *("-p", "no:cacheprovider", "-p", "no:django", "--import-mode=importlib"),
                    *("--noconftest", *files),
                ],
                cwd=folder,
                env={
                    **os.environ,
                    "PYTHONPATH": f"{OURS}:{THEIRS / 'cachelib'}",
                    "UPSTREAM_REGION": json.dumps(options),
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
    yield started
    for run in started.values():
        with run:
            # One whose test was another process's.
            run.kill()
    server.stop()


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("suite", SUITES)
def test_the_tests_of_others_pass(
    runs: dict[str, subprocess.Popen[str]], suite: str, store: str
) -> None:
    run = runs[f"{suite} on {store}"]
    told, _ = run.communicate()
    assert run.returncode == 0, told
    passed = re.search(r"(\d+) passed", told)
    assert passed is not None, told
    assert int(passed[1]) >= FEWEST[suite], told
