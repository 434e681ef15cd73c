"""Files of 1 KB to 500 MB over HTTP, one and four at once, beside curl and sha256sum.

A server on this machine has the files and their manifest. What curl brings is written to disk once
as it is, and once with ``sync``, so that it survives a loss of power, as what is imported does.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from bench.imports import trees
from bench.imports.places import KB, MB
from bench.imports.turns import Case, Import, by_curl
from bench.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZES = {500 * MB: 1, 100 * MB: 6, 10 * MB: 60, MB: 200, 64 * KB: 1000, KB: 2000}
"""Bytes of a file, and how many there are of it: 2 GB."""
WHOLE = sum(size * files for size, files in SIZES.items())
JOBS = 4, 1
CURL = "curl, sha256sum"
SYNCED = f"{CURL}, sync"


def make(folder: Path, megabytes: int) -> list[str]:
    """Make files of this many megabytes together, and their manifest; return their paths."""
    folder.mkdir()
    share = megabytes * MB / WHOLE
    block = random.Random(0).randbytes(MB)
    for group, (usual, files) in enumerate(SIZES.items()):
        (folder / f"{group}").mkdir()
        # Of each size one at least, as large as the share allows.
        size = min(usual, int(500 * MB * share) or KB)
        for number in range(max(1, round(files * share))):
            with open(folder / f"{group}" / f"{number:04}.bin", "wb") as file:
                for start in range(0, size, MB):
                    piece = b"%24d" % random.getrandbits(64) + block[24 : size - start]
                    file.write(piece[: size - start])
    return trees.write_manifest(folder)


def cases(folder: Path, megabytes: int) -> Iterator[Case]:
    """Make the files and serve them; yield the work for each number of jobs."""
    root = folder / "mixed"
    paths = make(root, megabytes)
    origin = Origin(root)
    for jobs in JOBS:
        yield Case(
            f"{megabytes:,} MB over HTTP, {jobs} at once",
            len(paths),
            trees.size_of(root, paths),
            {
                SYNCED: by_curl(origin.url, paths, jobs),
                CURL: by_curl(origin.url, paths, jobs, sync=False),
                "import_data": Import(f"{origin.url}/SHA256SUMS", f"--jobs={jobs}"),
            },
            (SYNCED, CURL),
        )
