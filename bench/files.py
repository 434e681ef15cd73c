"""A files region beside its peers and beside the bare file: what a hit costs for each size,
how fast it fills, and what memory it takes.

Run it with ``python -m bench.files``.

Each contender fills its store in a process of its own, call by call, the peers for as long as
`PATIENCE` allows; then all take turns in one process. Every entry has content of its own. Of a
cluster, these two processes are hosts on one folder, with a memcached on this machine; what a host
has stored in a folder of its own takes the same calls.
"""

from __future__ import annotations

import dbm
import multiprocessing
import os
import random
import resource
import shutil
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diskcache  # type: ignore[import-untyped]
import dogpile.cache

from bench.contenders import (
    EXPIRE,
    OURS,
    Beaker,
    BeakerFiles,
    Ours,
    OursCluster,
    OursFiles,
    Place,
)
from bench.report import Row, arguments, report, spread
from tests.servers import Memcached

if TYPE_CHECKING:
    from collections.abc import Callable

    from beaker_regions import CachedFile

    Call = Callable[[int], Any]

SIZES = {"1 KB": 1 << 10, "10 KB": 10 << 10, "64 KB": 1 << 16, "1 MB": 1 << 20, "64 MB": 1 << 26}
CASES = [
    *((10, size) for size in ("1 KB", "64 KB", "1 MB")),
    (2, "64 MB"),
    *((1_000, size) for size in ("1 KB", "10 KB", "1 MB")),
    (100_000, "1 KB"),
]
QUICK = [(10, "1 KB"), (10, "1 MB")]
PATIENCE, PATIENCE_EACH = 5.0, 1e-4
"""Seconds that filling a store may take a peer, at least, and for each entry."""
MANY = 10_000
"""Entries from which on streamed content, which is synced file by file, is left out."""
TIMEOUT = 3
"""Seconds for a memcached's answer: a busy machine is no fault."""
TURN = 0.03
"""Seconds that a contender's turn takes, about."""
KEYS = 500
"""Different ones that are asked for, at random, of all that are stored."""


class Content:
    """What is stored: of one size, another for each key."""

    def __init__(self, size: int) -> None:
        self._rest = os.urandom(size - 8)

    def __call__(self, key: int) -> bytes:
        return b"%08d" % key + self._rest


# -- contenders -----------------------------------------------------------------------------------


def bare_file(place: Place, load: Content) -> Call:
    folder = place.folder
    folder.mkdir(parents=True, exist_ok=True)

    def call(key: int) -> bytes:
        try:
            with open(f"{folder}/{key}", "rb") as file:
                return file.read()
        except FileNotFoundError:
            value = load(key)
            Path(f"{folder}/{key}").write_bytes(value)
            return value

    return call


def ours(kind: type[Ours], place: Place, load: Content) -> Call:
    return kind(place, load, TIMEOUT).call


def ours_streamed(kind: type[Ours], place: Place, load: Content) -> Call:
    contender = kind(place, lambda key: iter([load(key)]), TIMEOUT)

    def call(key: int) -> bytes:
        file: CachedFile = contender.call(key)
        return file.read_bytes()

    return call


def ours_opened(kind: type[Ours], place: Place, load: Content) -> Call:
    contender = kind(place, lambda key: iter([load(key)]), TIMEOUT)

    def call(key: int) -> bytes:
        file: CachedFile = contender.call(key)
        return file.digest.encode()

    return call


class BeakerDbm(Beaker):
    region = "stock_dbm"

    def options(self, place: Place) -> dict[str, str]:
        return {"type": "dbm", "data_dir": str(place.folder / "stock")}


def beaker(kind: type[Beaker], place: Place, load: Content) -> Call:
    return kind(place, load).call


def dogpile_dbm(place: Place, load: Content) -> Call:
    folder = place.folder
    folder.mkdir(parents=True, exist_ok=True)
    region = dogpile.cache.make_region().configure(
        "dogpile.cache.dbm",
        expiration_time=EXPIRE,
        arguments={"filename": str(folder / "cache.dbm")},
    )

    def value(key: int) -> bytes:
        return load(key)

    cached: Call = region.cache_on_arguments()(value)
    return cached


def disk_cache(place: Place, load: Content) -> Call:
    # Its own limit, 1 GB, would evict.
    disk = diskcache.Cache(place.folder, size_limit=1 << 40)
    call: Call = disk.memoize(name="value", expire=EXPIRE)(load.__call__)
    return call


BARE = "open().read()"
OPENED = "CachedFile opened"
CONTENDERS: dict[str, Callable[[Place, Content], Call]] = {
    BARE: bare_file,
    OURS: partial(ours, OursFiles),
    f"{OURS}, streamed": partial(ours_streamed, OursFiles),
    f"{OURS}, {OPENED}": partial(ours_opened, OursFiles),
    f"{OURS}, cluster": partial(ours, OursCluster),
    f"{OURS}, cluster, streamed": partial(ours_streamed, OursCluster),
    f"{OURS}, cluster, {OPENED}": partial(ours_opened, OursCluster),
    "diskcache": disk_cache,
    "dogpile.cache, dbm": dogpile_dbm,
    "Beaker, file": partial(beaker, BeakerFiles),
    "Beaker, dbm": partial(beaker, BeakerDbm),
}
PEERS = [name for name in CONTENDERS if name != BARE and not name.startswith(OURS)]


# -- measuring ------------------------------------------------------------------------------------

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])


def in_a_process(run: Callable[..., Row], *given: Any) -> Row:
    """Return what ``run`` returns in a process of its own, with that process's peak memory."""
    with processes.Pool(1) as pool:
        return pool.apply(_with_memory, (run, *given))


def _with_memory(run: Callable[..., Row], *given: Any) -> Row:
    peak = partial(resource.getrusage, resource.RUSAGE_SELF)
    before = peak().ru_maxrss
    result = run(*given)
    return result | {"MB of memory": round((peak().ru_maxrss - before) / 1024)}


def fill(name: str, place: Place, load: Content, entries: int) -> Row:
    """Store entries, and read one, as long as there is time."""
    call = CONTENDERS[name](place, load)
    patience = max(PATIENCE, entries * PATIENCE_EACH)
    started = time.perf_counter()
    for key in range(entries):
        call(key)
        if name in PEERS and time.perf_counter() - started > patience:
            break
    seconds = time.perf_counter() - started
    call(0)
    return {"stored": key + 1, "MB/s stored": (key + 1) * len(load(0)) / seconds / 1e6}


def hits(calls: dict[str, tuple[Call, int]], load: Content, rounds: int) -> dict[str, list[float]]:
    """Return the microseconds a hit, of each contender in each round; ``calls`` come with the
    number of entries that are stored."""
    keys, turns = {}, {}
    for name, (call, stored) in calls.items():
        keys[name] = [random.randrange(stored) for _ in range(KEYS)]
        for key in keys[name][:3]:
            assert name.endswith(OPENED) or call(key) == load(key), name
        started = time.perf_counter()
        for key in keys[name][:3]:
            call(key)
        turns[name] = min(KEYS, max(1, round(TURN * 3 / (time.perf_counter() - started))))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, (call, _) in calls.items():
            wanted = random.sample(keys[name], turns[name])
            started = time.perf_counter()
            for key in wanted:
                call(key)
            samples[name].append((time.perf_counter() - started) / len(wanted) * 1e6)
    return samples


def case(place: Place, entries: int, size: str, rounds: int) -> list[Row]:
    load = Content(SIZES[size])
    names = [BARE, OURS, *PEERS] if entries > MANY else list(CONTENDERS)
    # What is only opened is what was streamed.
    fillers = {name: name.replace(OPENED, "streamed") for name in names}
    places = {
        name: place._replace(folder=place.folder / str(number))
        for number, name in enumerate(dict.fromkeys(fillers.values()))
    }
    filled = {name: in_a_process(fill, name, own, load, entries) for name, own in places.items()}
    calls = {
        name: (CONTENDERS[name](places[by], load), filled[by]["stored"])
        for name, by in fillers.items()
    }
    samples = hits(calls, load, rounds)
    shutil.rmtree(place.folder)
    rows = []
    for name, micros in samples.items():
        ratios = [mine / bare for mine, bare in zip(micros, samples[BARE], strict=True)]
        rows.append(
            {
                "entries": entries,
                "size": size,
                "contender": name,
                "us a hit": round(statistics.median(micros), 2),
                "us, 80 %": spread(micros),
                "to the bare file": round(statistics.median(ratios), 3),
                **filled[fillers[name]],
            }
        )
    return rows


def kind_of_dbm(folder: Path) -> str:
    """Return which of Python's dbm modules there is: it decides what those contenders can do."""
    with dbm.open(str(folder / "kind"), "c") as file:
        file[b"key"] = b"value"
    return str(dbm.whichdb(str(folder / "kind")))


def main() -> None:
    given = arguments(__doc__)
    rounds = 3 if given.quick else 20
    # One processor for all, as in `bench.hit`; a child has its parent's.
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    rows = []
    server = Memcached()
    server.start()
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as name:
        folder = Path(name)
        for entries, size in QUICK if given.quick else CASES:
            server.flush()
            place = Place(server.address, folder / f"{entries}-{size}")
            rows += case(place, entries, size, rounds)
        kind = kind_of_dbm(folder)
    server.stop()
    settings = {"rounds": rounds, "seconds to fill": PATIENCE, "dbm": kind}
    report("files", given, settings, rows)


if __name__ == "__main__":
    main()
