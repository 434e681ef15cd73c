"""A zip and a tar.gz with thousands of files, beside the tools that unpack them to a folder."""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING

from bench.imports.turns import Case, Command, Contender, Import

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEAN = 90_000
"""Bytes of a file, as in the wheels and source archives that sites keep."""


def make(folder: Path, files: int) -> int:
    """Make files that can be packed to about a third; return their bytes."""
    chance = random.Random(1)
    words = [chance.randbytes(chance.randrange(3, 9)).hex().encode() for _ in range(5000)]
    text = b" ".join(chance.choices(words, k=400_000))
    total = 0
    for number in range(files):
        size = min(len(text) - 1, int(chance.expovariate(1 / MEAN)))
        start = chance.randrange(len(text) - size)
        path = folder / f"{number % 200:03}" / f"{number:06}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d\n" % number + text[start : start + size])
        total += path.stat().st_size
    return total


def cases(folder: Path, files: int) -> Iterator[Case]:
    """Make the archives; yield the work with each of them."""
    source = folder / "packed"
    size = make(source, files)
    zipped, tarred = folder / "files.zip", folder / "files.tar.gz"
    subprocess.run(["zip", "-q", "-r", zipped, "."], cwd=source, check=True)
    subprocess.run(["tar", "-czf", tarred, "."], cwd=source, check=True)
    for archive, command in (
        (zipped, ("unzip", "-q", str(zipped), "-d", "{}/out")),
        (tarred, ("tar", "-xzf", str(tarred))),
    ):
        contenders: dict[str, Contender] = {
            command[0]: Command(*command),
            "import_data": Import(str(archive)),
        }
        yield Case(f"{archive.name} of {files:,}", files, size, contenders, (command[0],))
