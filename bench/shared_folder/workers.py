"""The application's processes on the hosts: those that read, those that change what is read, and
those that look after the folder. They count on a board that all share.

A change is announced when its invalidation has returned; a read that began after that and gets
something older is stale.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import beaker_regions
from beaker_regions.stores.files import maintenance
from beaker_regions.stores.files.store import FileStore
from bench.shared_folder.volume import Client

processes = multiprocessing.get_context("fork")
"""A process is on the host of the thread that starts it."""

KEYS = 12
WORKERS = 16
COUNTS: Final = ("reads", "writes", "stale", "errors", "failures", "worst", "since")
"""What a worker counts: ``errors`` are exceptions, and content that is not whole; ``failures`` are
those of the store, which callers do not see; ``worst`` is the longest call in seconds, and
``since`` when the call began that has not ended."""
SIZE = 1_000_000
"""Bytes of a file, about."""
EXPIRE = 0.3
"""Seconds, where entries expire."""
CLOCK = 0.05
"""Seconds between a load's end and the time that its record gets, at most."""


class Board:
    """What all processes share."""

    def __init__(self, address: str) -> None:
        self.address = address
        """Of the memcached."""
        self.name = os.urandom(4).hex()
        """Its entries belong to it alone."""
        self.truth: Any = processes.Array("q", KEYS)
        self.announced: Any = processes.Array("q", KEYS)
        self.loads: Any = processes.Array("q", KEYS)
        self.stop = processes.Event()
        self.go = processes.Barrier(WORKERS)
        self._counts = processes.Array("d", WORKERS * len(COUNTS), lock=False)

    def add(self, worker: int, what: str, amount: float = 1) -> None:
        self._counts[self._at(worker, what)] += amount

    @contextlib.contextmanager
    def timed(self, worker: int) -> Iterator[None]:
        """Measure a call, and count what it raises."""
        since, worst = self._at(worker, "since"), self._at(worker, "worst")
        began = self._counts[since] = time.monotonic()
        try:
            yield
        except Exception as error:
            logging.getLogger("bench").error("worker %d: %r", worker, error)
            self.add(worker, "errors")
        self._counts[since] = 0
        self._counts[worst] = max(self._counts[worst], time.monotonic() - began)

    def total(self, what: str) -> int:
        return round(sum(self._all(what)))

    def worst(self) -> float:
        """Return the seconds of the longest call, one that has not ended included."""
        running = [time.monotonic() - since for since in self._all("since") if since]
        return max([*self._all("worst"), *running])

    def _all(self, what: str) -> list[float]:
        return [self._counts[self._at(worker, what)] for worker in range(WORKERS)]

    @staticmethod
    def _at(worker: int, what: str) -> int:
        return worker * len(COUNTS) + COUNTS.index(what)


class Place(NamedTuple):
    """Where a worker is, and how its region is configured."""

    client: Client
    number: int
    """On the board."""
    kind: str
    """record, file or stream."""
    load_seconds: float = 0.01
    options: tuple[tuple[str, Any], ...] = ()


class Cached:
    """The cached function of a worker."""

    def __init__(self, place: Place, board: Board) -> None:
        self._place, self._board = place, board
        logging.getLogger("beaker_regions").setLevel(logging.CRITICAL)  # outages are meant
        self.cache = beaker_regions.CacheManager(
            **beaker_regions.parse_cache_config_options(
                {
                    "cache.regions": "files, servers",
                    # What a host counts is its own.
                    "cache.data_dir": place.client.own_folder,
                    "cache.secret": "of the measurements",
                    "cache.files.type": "file",
                    "cache.files.file_dir": place.client.folder,
                    "cache.files.cluster": "servers",
                    "cache.files.expire": 3600,
                    "cache.servers.type": "ext:memcached",
                    "cache.servers.url": board.address,
                    # A busy machine is no fault.
                    "cache.servers.timeout": 3,
                    **{f"cache.files.{name}": value for name, value in place.options},
                }
            )
        )

        @self.cache.region("files", key=lambda key: f"{board.name} {key}")
        def record(key: int) -> tuple[int, float]:
            return self._load(key)

        @self.cache.region("files", key=lambda key: f"{board.name} {key}")
        def file(key: int) -> bytes:
            return b"".join(self._chunks(key))

        @self.cache.region("files", key=lambda key: f"{board.name} {key}")
        def stream(key: int) -> Iterator[bytes]:
            return self._chunks(key)

        functions: dict[str, Any] = {"record": record, "file": file, "stream": stream}
        self._function = functions[place.kind]
        self.invalidate: Callable[[int], None] = self._function.invalidate

    def _load(self, key: int) -> tuple[int, float]:
        with self._board.loads.get_lock():
            self._board.loads[key] += 1
        version = self._board.truth[key]
        time.sleep(random.uniform(0, self._place.load_seconds))
        return version, time.time()

    def _chunks(self, key: int) -> Iterator[bytes]:
        version, loaded_at = self._load(key)
        line = b"%d %r\n" % (version, loaded_at)
        for _ in range(10):
            yield line * (SIZE // 10 // len(line))

    def read(self, key: int) -> tuple[int, float]:
        """Return the version and when it was loaded. Raises ValueError for what is not whole."""
        found = self._function(key)
        if self._place.kind == "record":
            version, loaded_at = found
            return version, loaded_at
        content = found if isinstance(found, bytes) else found.read_bytes()
        line = content[: content.index(b"\n") + 1]
        if content != line * (SIZE // 10 // len(line)) * 10:
            raise ValueError(f"{len(content)} bytes that are not whole")
        version, loaded_at = line.split()
        return int(version), float(loaded_at)

    def failures(self) -> int:
        events = self.cache["files"].stats.snapshot().items()
        return sum(count for event, count in events if event.startswith(("failed", "refused")))


def read(place: Place, board: Board) -> None:
    """Read until all is over."""
    cached, number = Cached(place, board), place.number
    expire = dict(place.options).get("expire", float("inf"))
    while not board.stop.is_set():
        key = random.randrange(KEYS)
        announced, began = board.announced[key], time.time()
        with board.timed(number):
            version, loaded_at = cached.read(key)
            board.add(number, "stale", version < announced or began > loaded_at + expire + CLOCK)
        board.add(number, "reads")
        time.sleep(0.001)
    board.add(number, "failures", cached.failures())


def write(place: Place, board: Board) -> None:
    """Change what is read, until all is over."""
    cached, number = Cached(place, board), place.number
    while not board.stop.is_set():
        key = random.randrange(KEYS)
        with board.truth.get_lock():
            board.truth[key] += 1
            version = board.truth[key]
        with board.timed(number):
            cached.invalidate(key)
            with board.announced.get_lock():
                board.announced[key] = max(board.announced[key], version)
        board.add(number, "writes")
        time.sleep(random.uniform(0, 0.06))


def look_after(place: Place, board: Board) -> None:
    """Verify and sweep in turn, until all is over; what is found damaged is an error."""
    cached, number = Cached(place, board), place.number
    store = cached.cache["files"].store
    assert isinstance(store, FileStore)
    while not board.stop.is_set():
        with board.timed(number):
            if damaged := [*maintenance.verify(store)]:
                raise ValueError(f"damaged, it says: {damaged}")
            maintenance.sweep(store)
        board.add(number, "reads")


def ask_at_once(place: Place, board: Board, parties: Any, rounds: int) -> None:
    """Read one key after the other, all processes at the same moment."""
    cached, number = Cached(place, board), place.number
    for turn in range(rounds):
        key = turn % KEYS
        if parties.wait() == 0:
            board.truth[key] += 1
            cached.invalidate(key)
            board.announced[key] = board.truth[key]
            board.add(number, "writes")
        parties.wait()
        with board.timed(number):
            board.add(number, "stale", cached.read(key)[0] < board.truth[key])
        board.add(number, "reads")
    board.add(number, "failures", cached.failures())


def start(work: Callable[..., None], place: Place, board: Board, *more: Any) -> Any:
    """Return a process that does ``work`` on the host of ``place``."""
    process = processes.Process(target=work, args=(place, board, *more), daemon=True)
    with place.client.host.inside():
        process.start()
    return process
