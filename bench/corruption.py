"""What damage to the files of a region does: flipped bits, cut files, swapped files.

Run it with ``python -m bench.corruption``.

Each round damages one thing in a store that is whole, and leaves the dates as they were, as a
failing disk does. Then either ``verify`` looks for it, or every entry is read. ``--quick`` makes
few rounds.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import beaker_regions
from beaker_regions.stores.files import maintenance
from beaker_regions.stores.files.generations import places
from beaker_regions.stores.files.store import FileStore
from bench.report import Row, arguments, report

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 200
"""Of each kind of damage, with and without verification at read, half of them for ``verify``."""
ENTRIES = 12
"""Of each of three functions."""


class Shelf:
    """A region with small, large and streamed values; some are equal."""

    def __init__(self, folder: Path, verify_reads: bool) -> None:
        config = {
            "type": "file",
            "data_dir": folder,
            "secret": "of the measurements",
            "size_limit": 1 << 30,
            "durable": False,
            "verify_reads": verify_reads,
        }
        self.cache = beaker_regions.CacheManager(
            **beaker_regions.parse_cache_config_options(
                {"cache.regions": "shelf", **{f"cache.shelf.{k}": v for k, v in config.items()}}
            )
        )
        contents = [random.randbytes(random.randrange(70_000, 90_000)) for _ in range(ENTRIES)]

        @self.cache.region("shelf")
        def small(number: int) -> tuple[int, str]:
            return number, "row" * 100

        @self.cache.region("shelf")
        def large(number: int) -> bytes:
            return contents[number]

        @self.cache.region("shelf")
        def stream(number: int) -> Any:
            return iter([contents[number % 4 + number // 6]])

        self.functions: list[Any] = [small, large, stream]
        store = self.cache["shelf"].store
        assert isinstance(store, FileStore)
        self.store = store
        self.expected = self.read()

    def read(self) -> list[Any]:
        """Return every value through the cache."""
        found = [function(number) for function in self.functions for number in range(ENTRIES)]
        return [
            value.read_bytes() if isinstance(value, beaker_regions.CachedFile) else value
            for value in found
        ]

    def loads(self) -> int:
        return self.cache["shelf"].stats["loads"]

    def files(self) -> list[Path]:
        """Return what may be damaged, the table of generations apart."""
        kinds = ("entries", "content", "equal", "usage")
        return [path for kind in kinds for path in _files(self.store.folder / kind)]

    def renew(self) -> None:
        """Store everything again, for the next round."""
        shutil.rmtree(self.store.folder)
        assert self.read() == self.expected
        assert not list(maintenance.verify(self.store))


def _files(folder: Path) -> list[Path]:
    return [path for path in (folder, *folder.rglob("*")) if path.is_file()]


# -- damage ---------------------------------------------------------------------------------------


def flip(shelf: Shelf) -> str:
    """Flip one bit of a file."""
    path = random.choice(shelf.files())
    _flip(path, random.randrange(path.stat().st_size))
    return _kind(shelf, path)


def flip_generations(shelf: Shelf) -> str:
    """Flip one bit of a generation that is in use, or of the table's epoch."""
    function = random.choice(shelf.functions)
    at = random.choice([0, *places(function.entry(random.randrange(ENTRIES)).scopes)])
    _flip(shelf.store.folder / "generations", at * 8 + random.randrange(8))
    return "generations"


def cut(shelf: Shelf) -> str:
    """Cut a file short."""
    path = random.choice([*shelf.files(), shelf.store.folder / "generations"])
    _quietly(path, lambda: os.truncate(path, random.randrange(path.stat().st_size)))
    return _kind(shelf, path)


def swap(shelf: Shelf) -> str:
    """Let two files change places."""
    while True:
        first, second = random.sample([*shelf.files(), shelf.store.folder / "generations"], 2)
        if not first.samefile(second):
            break
    third = shelf.store.folder / "third"
    for source, target in ((first, third), (second, first), (third, second)):
        source.rename(target)
    kinds = {_kind(shelf, first), _kind(shelf, second)}
    return " and ".join(sorted(kinds))


DAMAGES: dict[str, Callable[[Shelf], str]] = {
    "flipped bit": flip,
    "flipped bit of a generation": flip_generations,
    "cut short": cut,
    "swapped": swap,
}


def _flip(path: Path, at: int) -> None:
    def write() -> None:
        with open(path, "r+b") as file:
            file.seek(at)
            (byte,) = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ 1 << random.randrange(8)]))

    _quietly(path, write)


def _quietly(path: Path, change: Callable[[], None]) -> None:
    found = path.stat()
    change()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def _kind(shelf: Shelf, path: Path) -> str:
    return path.relative_to(shelf.store.folder).parts[0]


# -- measuring ------------------------------------------------------------------------------------


def damaged(folder: Path, name: str, verify_reads: bool, rounds: int) -> Row:
    shelf = Shelf(folder, verify_reads)
    tally: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for number in range(rounds):
        kind = DAMAGES[name](shelf)
        kinds[kind] += 1
        if number % 2:
            found = len(list(maintenance.verify(shelf.store))) > 0
            tally["verified"] += 1
            tally["found"] += found
            # A generation that is none any more matches nothing, which is what it is for.
            tally["harmless"] += not found and kind == "generations"
        loads = shelf.loads()
        try:
            values = shelf.read()
            wrong = [a for a, b in zip(values, shelf.expected, strict=True) if a != b]
            tally["wrong"] += bool(wrong)
        except Exception:
            logging.exception("%s of %s", name, kind)
            tally["exceptions"] += 1
        tally["loads"] += shelf.loads() - loads
        shelf.renew()
    return {
        "damage": name,
        "verify_reads": str(verify_reads),
        "rounds": rounds,
        "looked for": tally["verified"],
        "found by verify": tally["found"],
        "generations, void": tally["harmless"],
        "read wrong": tally["wrong"],
        "exceptions": tally["exceptions"],
        "loads a round": round(tally["loads"] / rounds, 2),
        "of": ", ".join(f"{kind} {count}" for kind, count in kinds.most_common(4)),
    }


def main() -> None:
    given = arguments(__doc__, full="five times as many rounds")
    rounds = 50 if given.quick else 5 * ROUNDS if given.full else ROUNDS
    logging.getLogger("beaker_regions").setLevel(logging.ERROR)
    rows = []
    for verify_reads in (True, False):
        for name in DAMAGES:
            # In memory: what is measured is no disk.
            with tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as folder:
                rows.append(damaged(Path(folder), name, verify_reads, rounds))
    report("corruption", given, {"entries": 3 * ENTRIES}, rows)


if __name__ == "__main__":
    main()
