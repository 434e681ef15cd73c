"""Files of an origin; every application host has copies of them: in a region on its own disk.

They change at the origin, now and then, without a message: how far a copy may be out of date is the
time for which it is kept, and more only while the origin is away.
"""

from __future__ import annotations

import random
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from beaker_regions import CachedFile, CacheManager
from bench.cluster.board import FILES, KEYS, Board

EXPIRE = 1.0
"""Seconds after which a copy is fetched again."""
PATIENCE = 0.2
"""Seconds for which the origin is waited for."""
PAUSE = 0.1
"""Seconds between two changes."""
_LINES = 2000

Copies = Callable[[int], CachedFile]


def options(folder: Path) -> dict[str, object]:
    """Return the options of the region."""
    return {
        "cache.files.type": "file",
        "cache.files.expire": EXPIRE,
        "cache.files.grace": 3600,
        "cache.files.data_dir": folder,
    }


def declare(cache: CacheManager, origin: str, loaded: Callable[[], None]) -> Copies:
    """Return the cached function: the content of a file of ``origin``, a URL."""

    @cache.region("files")
    def file_of(number: int) -> Iterator[bytes]:
        loaded()
        return _fetched(f"{origin}/{number}")

    return file_of


def _fetched(url: str) -> Iterator[bytes]:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        left = int(answer.headers["Content-Length"])
        while chunk := answer.read(16 * 1024):
            left -= len(chunk)
            yield chunk
    if left:
        raise OSError(f"{url} broke off")


def version_in(content: bytes) -> int:
    """Return the version of content. Raises ValueError when it is not all of one."""
    (version,) = set(content.split(b"\n", _LINES)[:_LINES])
    return int(version)


class Changes(threading.Thread):
    """The files in the origin's ``folder``, and who changes them, until ``ended``."""

    def __init__(self, folder: Path, board: Board) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self._folder, self._board = folder, board
        folder.mkdir()
        self._versions = [0] * FILES
        for number in range(FILES):
            self._write(number)

    def run(self) -> None:
        while not self.ended.wait(random.uniform(0, 2 * PAUSE)):
            number = random.randrange(FILES)
            self._versions[number] += 1
            self._write(number)
            version = self._versions[number]
            self._board.announce(KEYS + number, version, time.monotonic_ns())

    def _write(self, number: int) -> None:
        new = self._folder / "new"
        new.write_bytes(b"%012d\n" % self._versions[number] * _LINES)
        new.rename(self._folder / str(number))
