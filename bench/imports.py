"""The import over HTTP beside curl and sha256sum: rate, memory, a second run, and a run that is
killed at 50 random moments and finished.

    python -m bench.imports [--quick] [--megabytes N]

A server on this machine has files of 1 KB to 500 MB, and their manifest. Every contender begins
with nothing and ends with all files, checked against the manifest; what curl brings is written to
disk (sync) once as it is, and once so that it survives a loss of power, as what is imported does.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.origin import Origin
from bench.report import Row, report

ROOT = Path(__file__).parents[1]
KB, MB = 1024, 1024 * 1024
SIZES = {500 * MB: 1, 100 * MB: 6, 10 * MB: 60, MB: 200, 64 * KB: 1000, KB: 2000}
"""Bytes of a file, and how many there are of it: 2 GB."""
WHOLE = sum(size * files for size, files in SIZES.items())
KILLS = 50
REPEATS = 2
RUN = """
import django, sys
django.setup()
from django.core.management import call_command
call_command("import_data", *sys.argv[1:])
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""
"""An import that ends with its own peak memory, in KB."""
CHECK = """
import django, hashlib, sys
django.setup()
from tasks.files.index import file_row
from tasks.files.content import content_of
from tasks.models import ImportedFile
wanted = dict(line.rstrip("\\n").split("  ")[::-1] for line in open(sys.argv[1]))
for pk in ImportedFile.objects.values_list("pk", flat=True):
    row = file_row(pk)
    with content_of(row).open() as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == wanted[row.path]:
            del wanted[row.path]
print(len(wanted))
"""
"""Prints how many files of a manifest are not stored as it has them."""


class Place:
    """Somewhere to import to: a region and a database of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.environ = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "settings.development",
            "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
            "REGIONS_DATA_DIR": str(folder / "regions"),
            "SECRET_KEY": os.urandom(32).hex(),
        }
        self.run(["manage.py", "migrate", "--verbosity=0"])

    def run(self, arguments: list[str]) -> list[str]:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environ,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.stdout.split("\n")

    def bring(self, url: str, *orders: str) -> float:
        """Import; return the peak memory in MB."""
        return int(self.run(["-c", RUN, url, *orders])[-2]) / KB


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the bytes, once")
    parser.add_argument("--megabytes", type=int, help="of all files")
    parser.add_argument("--output", type=Path, help="the JSON file (default: bench/results)")
    given = parser.parse_args()
    share = given.megabytes * MB / WHOLE if given.megabytes else 0.1 if given.quick else 1.0
    folder = Path(tempfile.mkdtemp(prefix="bench-imports-"))
    try:
        measure(folder, share, given)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, share: float, given: argparse.Namespace) -> None:
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
    for _ in range(1 if given.quick else REPEATS):
        for name, contender in contenders.items():
            os.sync()
            times[name].append(contender())
    rows: list[Row] = []
    reference = 0.0
    for name, taken in times.items():
        best = min(taken)
        if name.startswith("curl"):
            reference = best
        rows.append(_row(name.strip(), best, round(size / best / MB), round(reference / best, 2)))
    rows += after(folder, origin, url, size)
    settings = {"files": files, "MB": round(size / MB), "peak MB of an import": round(max(memory))}
    report("imports", given, settings, rows)


def after(folder: Path, origin: Origin, url: str, size: int) -> list[Row]:
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
        _row(f"second run: {requests} request", second),
        _row(
            f"the last run after {at_work} of {KILLS} were killed at work: "
            f"{origin.partial - partial} continued, {(origin.sent - sent) / size:.3f} of the bytes "
            f"sent, {wrong} wrong",
            finished,
        ),
    ]


def _row(what: str, seconds: float, rate: int | str = "", to_curl: float | str = "") -> Row:
    return {"what": what, "seconds": round(seconds, 2), "MB/s": rate, "to curl": to_curl}


if __name__ == "__main__":
    main()
