"""What a hit costs, in microseconds: a value from memcached beside one get of the bare client, and
one from files beside open().read() of the same bytes.

Run it with ``python -m bench.hit``.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diskcache  # type: ignore[import-untyped]
import memcache
import pylibmc

import beaker_regions
from bench.contenders import (
    CONTENDERS,
    EXPIRE,
    ON_MEMCACHED,
    OURS,
    Beaker,
    BeakerFiles,
    Contender,
    OursFiles,
    Place,
)
from bench.report import Row, arguments, report, spread
from tests.servers import Memcached

Call = Callable[[int], Any]

VALUES: dict[str, Any] = {
    "small": {"id": 7, "name": "Water the plants", "done": False},
    "50 rows": [(number, f"Task number {number}", False) for number in range(50)],
    "10 KB": "x" * 10_000,
}
SIZES = {"100 B": 100, "10 KB": 10_000, "1 MB": 1_000_000}
TURN = 0.05
"""Seconds that a contender's turn takes, about."""


def measure(calls: dict[str, Call], value: Any, keys: int, rounds: int) -> dict[str, list[float]]:
    """Return the microseconds a call, of each contender in each round."""
    turns = {}
    for name, call in calls.items():
        for key in range(keys):
            assert call(key) == value, name
        started = time.perf_counter()
        call(0)
        turns[name] = max(3, round(TURN / (time.perf_counter() - started)))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            count = turns[name]
            started = time.perf_counter()
            for number in range(count):
                call(number % keys)
            samples[name].append((time.perf_counter() - started) / count * 1e6)
    return samples


def rows_of(samples: dict[str, list[float]], against: str, **about: Any) -> list[Row]:
    """Return a row a contender; ``ratio`` is to ``against``, round by round."""
    rows = []
    for name, micros in samples.items():
        ratios = [mine / peer for mine, peer in zip(micros, samples[against], strict=True)]
        rows.append(
            {
                **about,
                "contender": name,
                "us a hit": round(statistics.median(micros), 2),
                "us, 80 %": spread(micros),
                "ratio": round(statistics.median(ratios), 3),
                "ratio, 80 %": spread(ratios),
                "to": against,
            }
        )
    return rows


def on_memcached(place: Place, rounds: int) -> list[Row]:
    rows = []
    keys = 10
    for size, value in VALUES.items():

        def load(_: int, value: Any = value) -> Any:
            return value

        calls: dict[str, Call] = {}
        for name, client in {
            "python-memcached, one get": memcache.Client([place.address]),
            "the same, pickle 5": memcache.Client([place.address], pickleProtocol=5),
            "pylibmc, one get": pylibmc.Client([place.address], behaviors={"tcp_nodelay": True}),
        }.items():
            calls[name] = one_get(client, name.replace(" ", "-"), value, keys)
        for name in ON_MEMCACHED:
            contender = CONTENDERS[name](place, load, timeout=3)
            for key in range(keys):
                contender.invalidate(key)
            calls[name] = contender.call
        samples = measure(calls, value, keys, rounds)
        rows += rows_of(samples, "python-memcached, one get", place="memcached", value=size)
        paired = {name: samples[name] for name in (f"{OURS}, pylibmc", "pylibmc, one get")}
        rows += rows_of(paired, "pylibmc, one get", place="memcached", value=size)[:1]
    return rows


def one_get(client: Any, prefix: str, value: Any, keys: int) -> Call:
    """Return what fetches a key's value with ``client`` and nothing else."""
    for key in range(keys):
        client.set(f"{prefix}{key}", value)
    return lambda key: client.get(f"{prefix}{key}")


def on_files(folder: Path, entries: int, size: str, rounds: int) -> list[Row]:
    value = bytes(range(256)) * (SIZES[size] // 256) + bytes(SIZES[size] % 256)
    place = Place("", folder)
    plain = folder / "plain"
    plain.mkdir(parents=True)
    for key in range(entries):
        (plain / str(key)).write_bytes(value)

    def read(key: int) -> bytes:
        with open(f"{plain}/{key}", "rb") as file:
            return file.read()

    disk = diskcache.Cache(folder / "diskcache")
    beaker_files = BeakerFiles(place, lambda _: value)
    fill(beaker_files, value, entries)
    calls: dict[str, Call] = {
        "open().read()": read,
        f"{OURS}, files": OursFiles(place, lambda _: value).call,
        f"{OURS}, streamed content": streamed(place, plain),
        "diskcache": disk.memoize(name="value", expire=EXPIRE)(lambda _: value),
        "Beaker, files": beaker_files.call,
    }
    rows = rows_of(
        measure(calls, value, entries, rounds),
        "open().read()",
        place=f"{entries:,} files",
        value=size,
    )
    disk.close()
    return rows


def fill(contender: Beaker, value: bytes, entries: int) -> None:
    """Let Beaker write its file once: entry by entry the filling takes minutes."""
    contender.call(0)
    name = contender.call._arg_namespace  # type: ignore[attr-defined]
    namespace: Any = contender.manager.get_cache_region(name, contender.region).namespace
    namespace.acquire_write_lock()
    for key in range(entries):
        namespace.set_value(str(key), (time.time(), EXPIRE, value))
    namespace.release_write_lock()


def streamed(place: Place, plain: Path) -> Call:
    """Return a function of ours whose content is a file, and which reads all of it."""

    def load(key: int) -> Path:
        return plain / str(key)

    contender: Contender = OursFiles(place._replace(folder=place.folder / "streamed"), load)

    def read(key: int) -> bytes:
        content: beaker_regions.CachedFile = contender.call(key)
        return content.read_bytes()

    return read


def main() -> None:
    given = arguments(__doc__)
    rounds = 3 if given.quick else 30
    cases = [(10, "100 B"), (10, "10 KB"), (10, "1 MB")]
    if not given.quick:
        cases += [(1_000, "100 B"), (1_000, "10 KB")]
    # One processor for server and client: what is measured is their work, and not how long an idle
    # processor takes to wake up, which may be as long and varies.
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    server = Memcached()
    server.start()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        rows = on_memcached(Place(server.address, folder), rounds)
        for entries, size in cases:
            rows += on_files(folder / f"{entries}-{size}", entries, size, rounds)
    server.stop()
    report("hit", given, {"rounds": rounds, "seconds a turn": TURN}, rows)


if __name__ == "__main__":
    main()
