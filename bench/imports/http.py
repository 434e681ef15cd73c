"""The import over HTTP beside curl and sha256sum: rate, memory, a second run, and a run that is
killed at 50 random moments and finished.

A server on this machine has files of 1 KB to 500 MB, and their manifest. Every contender begins
with nothing and ends with all files, checked against the manifest; what curl brings is written to
disk (sync) once as it is, and once so that it survives a loss of power, as what is imported does.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.imports.places import CHECK, KB, MB, ROOT, RUN, Place
from bench.origin import Origin
from bench.report import Row

SIZES = {500 * MB: 1, 100 * MB: 6, 10 * MB: 60, MB: 200, 64 * KB: 1000, KB: 2000}
"""Bytes of a file, and how many there are of it: 2 GB."""
WHOLE = sum(size * files for size, files in SIZES.items())
KILLS = 50


def make(folder: Path, share: float) -> int:
    """Make the files, this share of all bytes, and their manifest; return their number."""
    block = random.Random(0).randbytes(MB)
    lines = []
    for group, (usual, files) in enumerate(SIZES.items()):
        # Of each size one at least, as large as the share allows.
        size = min(usual, int(500 * MB * share) or KB)
        for number in range(max(1, round(files * share))):
            path = Path(f"{group}", f"{number:04}.bin")
            (folder / path.parent).mkdir(exist_ok=True)
            digest = hashlib.sha256()
            with open(folder / path, "wb") as file:
                for start in range(0, size, MB):
                    piece = b"%24d" % random.getrandbits(64) + block[24 : size - start]
                    file.write(piece[: size - start])
                    digest.update(piece[: size - start])
            lines.append(f"{digest.hexdigest()}  {path}\n")
    (folder / "SHA256SUMS").write_text("".join(lines))
    return len(lines)


def by_curl(url: str, paths: list[str], target: Path, *orders: str, sync: bool) -> float:
    """Fetch the files and check them; return seconds."""
    target.mkdir()
    config = "".join(
        f'url = "{url}/{path}"\noutput = "{path}"\n' for path in ["SHA256SUMS", *paths]
    )
    started = time.perf_counter()
    curl = ["curl", "--no-progress-meter", "--fail", "--create-dirs", *orders, "-K", "-"]
    subprocess.run(curl, cwd=target, input=config.encode(), check=True)
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=target, check=True)
    if sync:
        subprocess.run(["sync", "-f", "."], cwd=target, check=True)
    seconds = time.perf_counter() - started
    shutil.rmtree(target)
    return seconds


def killed(place: Place, url: str) -> int:
    """Start imports and kill them at random moments; return how many were at work by then."""
    at_work = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, url],
            cwd=ROOT,
            env=place.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(random.uniform(0.5, 2.0))
        at_work += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    return at_work


def measure(folder: Path, share: float, repeats: int) -> tuple[Row, list[Row]]:
    """Return the settings and the rows."""
    (folder / "origin").mkdir()
    files = make(folder / "origin", share)
    manifest = (folder / "origin" / "SHA256SUMS").read_text().splitlines()
    paths = [line[66:] for line in manifest]
    size = sum((folder / "origin" / path).stat().st_size for path in paths)
    origin = Origin(folder / "origin")
    url = f"{origin.url}/SHA256SUMS"
    memory: list[float] = []

    def bring(*orders: str) -> float:
        place = Place(folder / "place")
        started = time.perf_counter()
        memory.append(place.bring(url, *orders))
        seconds = time.perf_counter() - started
        shutil.rmtree(place.folder)
        return seconds

    def curl(*orders: str, sync: bool = False) -> Callable[[], float]:
        return lambda: by_curl(origin.url, paths, folder / "curl", *orders, sync=sync)

    four = ("--parallel", "--parallel-max", "4")
    contenders: dict[str, Callable[[], float]] = {
        "curl --parallel-max 4, sha256sum": curl(*four),
        "the same, sync": curl(*four, sync=True),
        "import_data --jobs 4": bring,
        "curl, sha256sum": curl(),
        "the same, sync ": curl(sync=True),
        "import_data --jobs 1": lambda: bring("--jobs=1"),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, contender in contenders.items():
            os.sync()
            times[name].append(contender())
    rows: list[Row] = []
    reference = 0.0
    for name, taken in times.items():
        best = min(taken)
        if name.startswith("curl"):
            reference = best
        rows.append(_row(name.strip(), best, files, size, reference))
    rows += after(folder, origin, url, files, size)
    settings = {"files": files, "MB": round(size / MB), "peak MB of an import": round(max(memory))}
    return settings, rows


def after(folder: Path, origin: Origin, url: str, files: int, size: int) -> list[Row]:
    """Measure a second run, and one that is killed again and again."""
    place = Place(folder / "again")
    place.bring(url)
    before = origin.requests
    started = time.perf_counter()
    place.bring(url)
    second = time.perf_counter() - started
    requests = origin.requests - before
    shutil.rmtree(place.folder)
    place = Place(folder / "killed")
    origin.rate = size / 40
    sent, partial = origin.sent, origin.partial
    at_work = killed(place, url)
    origin.rate = 0.0
    started = time.perf_counter()
    place.bring(url)
    finished = time.perf_counter() - started
    (wrong, _) = place.run(["-c", CHECK, str(folder / "origin" / "SHA256SUMS")])
    return [
        _row(f"import_data again: {requests} request", second, files, size),
        _row(
            f"the last run after {at_work} of {KILLS} were killed at work: "
            f"{origin.partial - partial} continued, {(origin.sent - sent) / size:.3f} of the bytes "
            f"sent, {wrong} wrong",
            finished,
            files,
            size,
        ),
    ]


def _row(contender: str, seconds: float, files: int, size: int, reference: float = 0.0) -> Row:
    return {
        "work": "over HTTP, 1 KB to 500 MB",
        "contender": contender,
        "seconds": round(seconds, 2),
        "files/s": round(files / seconds),
        "MB/s": round(size / seconds / MB, 1),
        "to the reference": round(seconds / reference, 2) if reference else "",
    }
