"""Gigabytes streamed into a files region, beside what is done by hand: rate and peak memory.

Run it with ``python -m bench.streams``.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contenders import OURS, OursFiles, Place
from bench.files import in_a_process
from bench.report import Row, arguments, report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beaker_regions import CachedFile

SIZE = 4 << 30
"""Bytes."""


def chunks(size: int) -> Iterator[bytes]:
    rest = os.urandom((1 << 20) - 8)
    for number in itertools.takewhile(lambda number: number << 20 < size, itertools.count()):
        yield b"%08d" % number + rest


def stream(folder: Path, size: int) -> Row:
    contender = OursFiles(Place("", folder), lambda _: chunks(size))
    started = time.perf_counter()
    file: CachedFile = contender.call(1)
    seconds = time.perf_counter() - started
    assert file.size == size
    started = time.perf_counter()
    assert sum(map(len, file.chunks())) == size
    return {"MB/s stored": size / seconds / 1e6} | {
        "MB/s read": size / (time.perf_counter() - started) / 1e6
    }


def bare_stream(folder: Path, size: int) -> Row:
    """Write, digest and sync a file, as it is done by hand."""
    folder.mkdir()
    digest = hashlib.sha256()
    started = time.perf_counter()
    with open(folder / "file", "wb") as file:
        for chunk in chunks(size):
            file.write(chunk)
            digest.update(chunk)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    with open(folder / "file", "rb") as file:
        while file.read(1 << 20):
            pass
    return {"MB/s stored": size / seconds / 1e6} | {
        "MB/s read": size / (time.perf_counter() - started) / 1e6
    }


def streams(folder: Path, size: int) -> list[Row]:
    rows = []
    for name, run in {"write, SHA-256, fsync": bare_stream, f"{OURS}, streamed": stream}.items():
        place = folder / run.__name__
        rows.append({"bytes": size, "contender": name, **in_a_process(run, place, size)})
        shutil.rmtree(place)
    return rows


def main() -> None:
    given = arguments(__doc__)
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as name:
        rows = streams(Path(name), 1 << 28 if given.quick else SIZE)
    report("streams", given, {"chunks": "1 MB"}, rows)


if __name__ == "__main__":
    main()
