"""``make run`` while somebody edits ``beakercache.py``."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import free_port
from tests.serving import PATIENCE, ROOT


class Copy:
    """A copy of the project that is being served, and edited."""

    def __init__(self, folder: Path) -> None:
        for name in ("beaker_regions", "project", "scripts", "settings", "tasks"):
            shutil.copytree(ROOT / name, folder / name)
        for name in ("beakercache.py", "manage.py"):
            shutil.copy(ROOT / name, folder / name)
        self.folder = folder
        port = free_port()
        self.address = f"http://127.0.0.1:{port}/files/"
        environ = {
            **os.environ,
            "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        for name in ("DJANGO_SETTINGS_MODULE", "REGIONS_DATA_DIR", "STATIC_ROOT"):
            del environ[name]
        self.log = folder / "log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "scripts/serve.py", str(port)],
                cwd=folder,
                env=environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def edit(self, old: str, new: str) -> None:
        path = self.folder / "beakercache.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(self.address) as answer:
            return bool(answer.status == 200)
        return False

    def all_answer(self) -> bool:
        """Whether each of the two or more workers has answered, and so is up."""
        counted = (self.folder / "var" / "regions" / ".metrics").glob("*.counts")
        pids = {path.name.partition("-")[0] for path in counted} - {str(self.process.pid)}
        return self.answers() and len(pids) >= max(2, os.cpu_count() or 2)

    def until(self, true: Callable[[], bool]) -> None:
        ends = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < ends, self.log.read_text()
            time.sleep(0.1)


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    served = Copy(tmp_path)
    yield served
    with contextlib.suppress(ProcessLookupError):
        os.killpg(served.process.pid, signal.SIGKILL)
    served.process.wait()


def test_an_edited_number_takes_effect_and_a_slip_harms_nobody(copy: Copy) -> None:
    copy.until(copy.all_answer)
    copy.edit("60 * 60,  # seconds", "60 * 60 +,  # seconds")
    copy.until(lambda: "is not used yet: SyntaxError" in copy.log.read_text())
    assert copy.answers(), copy.log.read_text()
    elsewhere = copy.folder / "var" / "elsewhere"
    copy.edit("60 * 60 +,  # seconds", "60,  # seconds")
    copy.edit('VAR / "regions"', 'VAR / "elsewhere"')
    copy.until(lambda: copy.answers() and (elsewhere / "functions" / "entries").exists())
    assert copy.process.poll() is None
