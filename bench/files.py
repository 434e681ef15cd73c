"""A files region beside its peers and beside the bare file: what a hit costs for each size,
how fast it fills, and what memory it takes.

Run it with ``python -m bench.files [--full]``.

Each contender fills its store in a process of its own, call by call, the peers for as long as
`PATIENCE` allows. A further process reads the entries for the first time, each once. Then all take
turns in one process. Every entry has content of its own. Times are the processor's: all files are
in the page cache. Of a cluster, these processes are hosts on one folder, with a memcached on this
machine; what a host has stored in a folder of its own takes the same calls.
"""

from __future__ import annotations

import dbm
import multiprocessing
import os
import random
import resource
import shutil
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
from bench.hit import rows_of
from bench.report import Row, arguments, report, write
from tests.servers import Memcached

if TYPE_CHECKING:
    from collections.abc import Callable

    from beaker_regions import CachedFile

    Call = Callable[[int], Any]

KB, MB = 1 << 10, 1 << 20
SIZES = {
    **{f"{number} KB": number * KB for number in (1, 10, 100)},
    **{f"{number} MB": number * MB for number in (1, 10, 100)},
}
CASES = [
    *((10, size) for size in ("1 KB", "1 MB")),
    *((1_000, size) for size in ("1 KB", "10 KB", "100 KB", "1 MB")),
    (10, "10 MB"),
    (3, "100 MB"),
]
MANY = 10_000, "1 KB"
FULL = 100_000, "1 KB"
QUICK = [(10, "1 KB"), (10, "1 MB")]
PATIENCE, PATIENCE_EACH = 5.0, 1e-4
"""Seconds that filling a store may take a peer, at least, and for each entry."""
TIMEOUT = 3
"""Seconds for a memcached's answer: a busy machine is no fault."""
TURN = 0.01
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
DISKCACHE = "diskcache"
OPENED = "CachedFile opened"
CONTENDERS: dict[str, Callable[[Place, Content], Call]] = {
    BARE: bare_file,
    OURS: partial(ours, OursFiles),
    f"{OURS}, streamed": partial(ours_streamed, OursFiles),
    f"{OURS}, {OPENED}": partial(ours_opened, OursFiles),
    f"{OURS}, cluster": partial(ours, OursCluster),
    f"{OURS}, cluster, streamed": partial(ours_streamed, OursCluster),
    f"{OURS}, cluster, {OPENED}": partial(ours_opened, OursCluster),
    DISKCACHE: disk_cache,
    "dogpile.cache, dbm": dogpile_dbm,
    "Beaker, file": partial(beaker, BeakerFiles),
    "Beaker, dbm": partial(beaker, BeakerDbm),
}
PEERS = [name for name in CONTENDERS if name != BARE and not name.startswith(OURS)]


def names_for(entries: int, size: str) -> list[str]:
    """Return the contenders of a case. All of them take part in the small ones; streamed content,
    which is synced file by file, and the peers that take seconds a call are in few others."""
    if (entries, size) in QUICK:
        return list(CONTENDERS)
    if entries > KEYS * 2:
        return [BARE, OURS, *PEERS]
    return [BARE, OURS, f"{OURS}, streamed", f"{OURS}, {OPENED}", DISKCACHE]


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


def first_hits(name: str, place: Place, load: Content, stored: int) -> Row:
    """Read in a new process: the first call of all, and then every other entry once."""
    clock = time.process_time
    call = CONTENDERS[name](place, load)
    started = clock()
    call(0)
    first = clock() - started
    keys = random.sample(range(1, stored), min(KEYS, stored - 1))
    started = clock()
    for key in keys:
        call(key)
    each = (clock() - started) / max(1, len(keys))
    return {"us, first call": round(first * 1e6), "us, first hits": round(each * 1e6, 1)}


def hits(calls: dict[str, tuple[Call, int]], load: Content, rounds: int) -> dict[str, list[float]]:
    """Return the microseconds of processor time a hit, of each contender in each round; ``calls``
    come with the number of entries that are stored."""
    clock = time.process_time
    keys, turns = {}, {}
    for name, (call, stored) in calls.items():
        keys[name] = [random.randrange(stored) for _ in range(KEYS)]
        for key in keys[name][:3]:
            assert name.endswith(OPENED) or call(key) == load(key), name
        started = clock()
        for key in keys[name][:3]:
            call(key)
        turns[name] = min(KEYS, max(1, round(TURN * 3 / (clock() - started))))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name in random.sample(list(calls), len(calls)):
            call, wanted = calls[name][0], random.sample(keys[name], turns[name])
            started = clock()
            for key in wanted:
                call(key)
            samples[name].append((clock() - started) / len(wanted) * 1e6)
    return samples


def case(place: Place, entries: int, size: str, rounds: int) -> list[Row]:
    load = Content(SIZES[size])
    names = names_for(entries, size)
    # What is only opened is what was streamed.
    fillers = {name: name.replace(OPENED, "streamed") for name in names}
    places = {
        name: place._replace(folder=place.folder / str(number))
        for number, name in enumerate(dict.fromkeys(fillers.values()))
    }
    filled = {name: in_a_process(fill, name, own, load, entries) for name, own in places.items()}
    calls, others = {}, {}
    for name, by in fillers.items():
        stored = filled[by]["stored"]
        others[name] = in_a_process(first_hits, name, places[by], load, stored) | filled[by]
        calls[name] = CONTENDERS[name](places[by], load), stored
    rows = rows_of(hits(calls, load, rounds), BARE, entries=entries, size=size)
    shutil.rmtree(place.folder)
    return [row | others[row["contender"]] for row in rows]


def kind_of_dbm(folder: Path) -> str:
    """Return which of Python's dbm modules there is: it decides what those contenders can do."""
    with dbm.open(str(folder / "kind"), "c") as file:
        file[b"key"] = b"value"
    return str(dbm.whichdb(str(folder / "kind")))


def main() -> None:
    given = arguments(__doc__, full="100,000 entries, too")
    rounds = 3 if given.quick else 100 if given.full else 40
    # One processor for all, as in `bench.hit`; a child has its parent's.
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    cases = QUICK if given.quick else [*CASES, FULL if given.full else MANY]
    rows = []
    server = Memcached()
    server.start()
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as name:
        folder = Path(name)
        settings = {"rounds": rounds, "seconds to fill": PATIENCE, "dbm": kind_of_dbm(folder)}
        for entries, size in cases:
            server.flush()
            place = Place(server.address, folder / f"{entries}-{size}")
            rows += case(place, entries, size, rounds)
            write("files", given, settings, rows)
    server.stop()
    report("files", given, settings, rows)


if __name__ == "__main__":
    main()
