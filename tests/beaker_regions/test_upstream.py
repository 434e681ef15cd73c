"""The tests that Beaker, cachelib and dogpile.cache have of their own caches pass on ours."""

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
    # In parts, for the sake of time.
    "beaker-caches": ["cache", "cachemanager", "increment", "namespacing", "unicode_cache_keys"],
    "beaker-sessions": ["cache_decorator", "cookie_expires", "domain_setting", "session"],
    "beaker-types": ["container"],
    "cachelib": [],
    "dogpile": [],
}
"""Modules of Beaker's that are run as they are. What is left out, and why, `upstream.beaker_types`
says."""
OURS_OF = {  # With what a module of ours makes of theirs.
    "beaker-types": "beaker_on_region.py",
    "cachelib": "cachelib_on_region.py",
    "dogpile": "dogpile_on_region.py",
}
FEWEST = {
    "beaker-caches": 33,
    "beaker-sessions": 24,
    "beaker-types": 12,
    "cachelib": 16,
    "dogpile": 27,
}
"""How many tests each has at least: one that finds none has passed nothing."""


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All selected ones at once: most of the time they sleep, until something has expired."""
    subprocess.run(["scripts/install-upstream-tests.sh"], cwd=ROOT, check=True)
    selected = {item.name for item in request.session.items}
    server = Memcached()
    server.start()
    started = {}
    for suite, modules in SUITES.items():
        files = [str(THEIRS / "beaker_tests" / f"test_{module}.py") for module in modules]
        plugins = ["-p", "beaker_types"] if modules else []
        if suite in OURS_OF:
            files.append(str(OURS / OURS_OF[suite]))
        for store in STORES:
            if f"test_the_tests_of_others_pass[{suite}-{store}]" not in selected:
                continue
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
                    *("-p", "no:cacheprovider", "-p", "no:django", "-p", "no:regions"),
                    *("--import-mode=importlib", "--noconftest", *plugins, *files),
                ],
                cwd=folder,
                env={
                    **os.environ,
                    "PYTHONPATH": f"{OURS}:{THEIRS if plugins else THEIRS / 'cachelib'}",
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


@pytest.mark.parametrize(
    "store",
    [pytest.param(name, marks=pytest.mark.slow if name == "file" else ()) for name in STORES],
)
@pytest.mark.parametrize("suite", SUITES)
def test_the_tests_of_others_pass(
    runs: dict[str, subprocess.Popen[str]], suite: str, store: str
) -> None:
    run = runs[f"{suite} on {store}"]
    output, _ = run.communicate()
    assert run.returncode == 0, output
    passed = re.search(r"(\d+) passed", output)
    assert passed is not None, output
    assert int(passed[1]) >= FEWEST[suite], output
