"""The application as ``make run`` serves it, for tests that look at it from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.servers import free_port

ROOT = Path(__file__).parents[1]
PATIENCE = 120.0
"""Seconds that a server may take to start or to end."""


class Serving:
    """The server of ``make run``, on data of its own."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.database = folder / "db.sqlite3"
        self.address = f"http://127.0.0.1:{port}"
        self.environ = {
            **os.environ,
            "DATABASE_URL": f"sqlite:///{self.database}",
            "REGIONS_DATA_DIR": str(folder / "regions"),
            # Another server may be collecting at this moment.
            "STATIC_ROOT": str(folder / "static"),
        }
        del self.environ["DJANGO_SETTINGS_MODULE"]
        # Not into a pipe: the server would wait for its reader.
        self._printed = folder / "printed.txt"
        with self._printed.open("w") as printed:
            self.process = subprocess.Popen(
                [sys.executable, "scripts/serve.py", str(port)],
                cwd=ROOT,
                env=self.environ,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def page(self, path: str) -> tuple[str, dict[str, str]]:
        """Return body and headers of the answer, as soon as there is one."""
        ends = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(self.address + path) as answer:
                    return answer.read().decode(), dict(answer.headers)
            except ConnectionError:
                pass
            except OSError as error:
                if not isinstance(getattr(error, "reason", None), ConnectionError):
                    raise
            if time.monotonic() > ends:
                raise TimeoutError(f"no answer at {self.address}")
            time.sleep(0.1)

    def manage(self, *arguments: str) -> str:
        """Run a command of manage.py on the server's data; return what it printed."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environ,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def processes(self) -> list[int]:
        """Return the ids of the server's processes."""
        found = subprocess.run(
            ["pgrep", "-g", str(self.process.pid)], capture_output=True, text=True
        )
        return list(map(int, found.stdout.split()))

    def interrupt(self) -> str:
        """Press Ctrl-C; return what the server printed."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(timeout=PATIENCE)
        return self._printed.read_text()

    def kill(self) -> None:
        """End it, if it has not ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
