"""A tree of small files, as trees of programs are."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

FOLDER = 24
"""Files in one folder, about."""
MEDIAN, SPREAD, LARGEST = 2500, 1.4, 1 << 20
"""Of the sizes, in bytes: they are log-normal. Half of the files of a Python environment, or of
node_modules, are below 2 to 3 KB, a tenth above 15 KB."""


def make(folder: Path, files: int) -> int:
    """Make a tree; return its bytes."""
    chance = random.Random(0)
    block = chance.randbytes(LARGEST)
    total = 0
    for number in range(files):
        size = min(LARGEST, int(chance.lognormvariate(0, SPREAD) * MEDIAN))
        inside = number // FOLDER
        place = folder / f"{inside % 30:02}" / f"{inside // 30:03}"
        if number % FOLDER == 0:
            place.mkdir(parents=True)
        start = chance.randrange(LARGEST - size + 1)
        content = b"%012d\n" % number + block[start : start + size]
        (place / f"module_{number:06}.{chance.choice(('py', 'js', 'txt', 'json'))}").write_bytes(
            content
        )
        total += len(content)
    return total


def write_manifest(folder: Path) -> list[str]:
    """Write the SHA256SUMS of a folder's files; return their paths."""
    paths = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    lines = []
    for path in paths:
        with open(folder / path, "rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path}\n")
    (folder / "SHA256SUMS").write_text("".join(lines))
    return paths


def size_of(folder: Path, paths: list[str]) -> int:
    """Return the bytes of all files together."""
    return sum((folder / path).stat().st_size for path in paths)
