"""Configuration of gunicorn for ``make run``: an edited ``beakercache.py`` takes effect at once.

gunicorn's own --reload watches every module, and shows visitors the traceback of a half-written
one. Here the workers keep the old configuration until the new file can be imported.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

WATCHED = Path(__file__).parent.parent / "beakercache.py"
INTERVAL = 1.0
"""Seconds between two checks of the file."""


def when_ready(server: Any) -> None:
    threading.Thread(target=_watch, args=(server,), daemon=True).start()


def _watch(server: Any) -> None:
    seen = _version()
    while True:
        time.sleep(INTERVAL)
        if (now := _version()) == seen:
            continue
        seen = now
        tried = subprocess.run(
            [sys.executable, "-c", "import beakercache"], capture_output=True, text=True
        )
        if tried.returncode == 0:
            server.log.warning("%s has changed and takes effect", WATCHED.name)
            os.kill(server.pid, signal.SIGHUP)
        else:
            (*_, error) = tried.stderr.strip().splitlines() or ["it cannot be imported"]
            server.log.warning("%s has changed and is not used yet: %s", WATCHED.name, error)


def _version() -> object:
    try:
        found = WATCHED.stat()
    except FileNotFoundError:
        return None  # an editor is replacing it
    return found.st_mtime_ns, found.st_size, found.st_ino
