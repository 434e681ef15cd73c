"""Django's own tests of its cache API and sessions pass on this library."""

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

ROOT = Path(__file__).parents[3]
STORES = ("file", "memcached")
CULLING = 3
"""Django's tests that skip themselves."""


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All tested stores at once: most of the time the tests sleep until something expires."""
    subprocess.run(["scripts/install-upstream-tests.sh"], cwd=ROOT, check=True)
    selected = {item.name for item in request.session.items}
    stores = [name for name in STORES if f"test_djangos_own_tests_pass[{name}]" in selected]
    servers = {name: Memcached() for name in stores if name != "file"}
    runs = {}
    for name in stores:
        folder = tmp_path_factory.mktemp(name)
        options: dict[str, object] = {"type": "file", "data_dir": str(folder)}
        if name in servers:
            servers[name].start()
            # A machine that is busy with tests is not an error.
            options = {"type": "ext:memcached", "url": servers[name].address, "timeout": 10}
        upstream = ROOT / ".venv" / "upstream-tests" / "django"
        runs[name] = subprocess.Popen(
            [sys.executable, "-m", "django", "test", "tests.beaker_regions.django.upstream.suite"],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT}:{upstream}",
                "DJANGO_SETTINGS_MODULE": "tests.beaker_regions.django.upstream.settings",
                "UPSTREAM_FOLDER": str(folder),
                "UPSTREAM_REGION": json.dumps({**options, "secret": "of the tests"}),
            },
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
    yield runs
    for run in runs.values():
        with run:
            # A run whose test was stopped before it.
            run.kill()
    for server in servers.values():
        server.stop()


@pytest.mark.parametrize(
    "store",
    [pytest.param(name, marks=() if name == "memcache" else pytest.mark.slow) for name in STORES],
)
def test_djangos_own_tests_pass(runs: dict[str, subprocess.Popen[str]], store: str) -> None:
    _, output = runs[store].communicate()
    assert runs[store].returncode == 0, output
    assert re.search(rf"\nRan [23]\d\d tests in .*\n\nOK \(skipped={CULLING}\)\n", output), output
