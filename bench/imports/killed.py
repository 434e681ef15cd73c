"""An import over HTTP that is killed at random moments, is finished, and then run once more."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from bench.imports import http, trees
from bench.imports.places import CHECK, ROOT, RUN, Place
from bench.origin import Origin

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report import Row

SECONDS = 40
"""That a whole transfer takes at the rate of the server while imports are killed."""


def measure(folder: Path, megabytes: int, kills: int) -> Row:
    """Return what became of the files."""
    root = folder / "wanted"
    paths = http.make(root, megabytes)
    size = trees.size_of(root, paths)
    origin = Origin(root)
    url = f"{origin.url}/SHA256SUMS"
    place = Place(folder / "killed")
    origin.rate = size / SECONDS
    at_work = sum(killed(place, url) for _ in range(kills))
    origin.rate = 0.0
    finished = timed(place, url)
    sent, requests = origin.sent, origin.requests
    again = timed(place, url)
    (wrong, _) = place.run(["-c", CHECK, str(root / "SHA256SUMS")])
    return {
        "work": f"{megabytes:,} MB over HTTP, killed",
        "kills": kills,
        "at work": at_work,
        "requests continued": origin.partial,
        "of the bytes sent": round(sent / size, 3),
        "files wrong": int(wrong),
        "seconds of the last run": round(finished, 2),
        "seconds again": round(again, 2),
        "requests again": origin.requests - requests,
    }


def killed(place: Place, url: str) -> bool:
    """Start an import and kill it at a random moment; return whether it was at work by then."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, url],
        cwd=ROOT,
        env=place.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(random.uniform(0.5, 2.0))
    at_work = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return at_work


def timed(place: Place, url: str) -> float:
    """Return the seconds that an import takes."""
    started = time.perf_counter()
    place.bring(url)
    return time.perf_counter() - started
