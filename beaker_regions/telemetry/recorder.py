"""Counters of what a region and its functions did, and one log line for what went wrong.

Every call of a function is a hit, stale (served the old value) or a miss. The numbers are this
process's; `beaker_regions.reports.metrics` adds up those of all processes.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, WeakValueDictionary

from beaker_regions.entries.content import CachedFile
from beaker_regions.entries.records import Codec
from beaker_regions.telemetry import event_log, maintenance, sampling, tracing
from beaker_regions.telemetry.sampling import KEY_SIZE, FunctionSampler, function_id
from beaker_regions.telemetry.shared_counters import Cells, Name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from beaker_regions.entries.entry import Entry, Lookup
    from beaker_regions.entries.records import Record
    from beaker_regions.telemetry.maintenance import Choice

logger = logging.getLogger("beaker_regions")

LOG_INTERVAL = 60.0
"""Seconds during which a fault of one kind in one region is logged once; it is always counted."""
UNWRITTEN = 1 << 20
"""Bytes of samples that are kept while the log cannot be written; then they are given up."""

SUMS = ("load_nanoseconds", "bytes_in", "bytes_out")
"""What is summed up, and no count of events."""

_ELSEWHERE = (Codec.FILE, Codec.PARTS)
"""Records whose payload says where the value is."""

_cells: WeakValueDictionary[Path | None, Cells] = WeakValueDictionary()
_all: WeakSet[Stats] = WeakSet()


def size_of(value: Any) -> int:
    """Return the bytes of a content or a text (its characters, that is); 0 for what would have to
    be pickled to know."""
    if isinstance(value, CachedFile):
        return value.size
    return len(value) if isinstance(value, bytes | str) else 0


class FunctionStats:
    """What one function did in this process; under an empty name, the region as a whole."""

    __slots__ = ("_at", "_hot", "_largest", "_lock", "_sampler", "_stats", "name")

    def __init__(self, stats: Stats, function: str) -> None:
        self._stats = stats
        self.name = function
        self.reset()

    def reset(self) -> None:
        """Begin at 0, as the child of a fork does."""
        self._lock = threading.RLock()  # a signal handler may call a cached function too
        self._at: dict[str, tuple[memoryview, int]] = {}
        self._hot: tuple[memoryview, int, int] | None = None
        self._sampler = FunctionSampler(self._stats.region, self.name)
        self._largest = 0

    def count(self, event: str, number: int = 1) -> None:
        if tracing.watchers:
            tracing.note(event, self.name, number)
        with self._lock:
            numbers, at = self._at.get(event) or self._place(event)
            try:
                numbers[at] += number
            except ValueError:  # too large: somebody has damaged the file
                numbers[at] = number

    def hit(self, entry: Entry, reading: Lookup, record: Record, value: Any) -> None:
        """Count a call that was served the value of a record, and sample it."""
        size = len(record.payload) if record.codec not in _ELSEWHERE else size_of(value)
        with self._lock:
            numbers, hits, bytes_out = self._hot or self._place_hot()
            try:
                numbers[hits] += 1
                numbers[bytes_out] += size
            except ValueError:  # too large: somebody has damaged the file
                numbers[hits], numbers[bytes_out] = 1, size
        address, sampler = entry.address, self._sampler
        if address < sampler.below or address[:KEY_SIZE] in sampler.hot:
            self._sample(address, reading)
        if size > self._largest:
            self._note_size(size)

    def loaded(self, seconds: float) -> None:
        self.count("loads")
        self.count("load_nanoseconds", round(seconds * 1e9))
        self._stats.notes.load(self.name, seconds)

    def stored(self, value: Any) -> None:
        """Count a value that was stored, where its size is known."""
        if size := size_of(value):
            self.count("bytes_in", size)
            if size > self._largest:
                self._note_size(size)

    def _note_size(self, size: int) -> None:
        self._largest = size
        self._stats.notes.value(self.name, size)

    def sample(self, entry: Entry, reading: Lookup) -> None:
        """Note a call in the sample, if its key is one of the sample."""
        address, sampler = entry.address, self._sampler
        if address < sampler.below or address[:KEY_SIZE] in sampler.hot:
            self._sample(address, reading)

    def _sample(self, address: bytes, reading: Lookup) -> None:
        now, sampler = time.time(), self._sampler
        with self._lock:
            run = sampler.runs.get(address)
            if run and int(now) == sampler.second and run.generations == reading.generations:
                run.calls += 1
                run.last = now
                return
            due = sampler.begin_run(now, address, reading)
            records = sampler.take(now, self.calls()) if due else b""
        if records:
            self._stats.write_samples(records)

    def calls(self) -> int:
        return sum(self[event] for event in ("hits", "stale", "misses"))

    def rest(self) -> bytes:
        """Return the records of what was sampled and not yet written."""
        with self._lock:
            if not self.calls():
                return b""
            return self._sampler.take(time.time(), self.calls(), all_of_it=True)

    @property
    def threshold(self) -> int:
        """Of `samples.ALL`: which keys are sampled."""
        return self._sampler.threshold

    def adopt(self, choice: Choice) -> None:
        """Sample what all processes are to sample."""
        with self._lock:
            # Up again slowly: this process may have had reasons of its own.
            self._sampler.use(min(choice.threshold, 2 * self.threshold), choice.hot)

    def __getitem__(self, event: str) -> int:
        numbers, at = self._at.get(event, (_NOTHING, 0))
        return numbers[at]

    def snapshot(self) -> dict[str, int]:
        return {event: numbers[at] for event, (numbers, at) in dict(self._at).items()}

    def _place(self, event: str) -> tuple[memoryview, int]:
        # What a hit counts lies together, to be found at once.
        events = _HOT if event in _HOT else (event,)
        place = self._stats.cells.place(
            [Name(self._stats.region, self.name, event) for event in events]
        )
        made = [(place.numbers, index) for index in place.indexes]
        self._at.update(zip(events, made, strict=True))
        if events is _HOT:
            self._hot = (place.numbers, *place.indexes)  # type: ignore[assignment]
        return self._at[event]

    def _place_hot(self) -> tuple[memoryview, int, int]:
        self._place("hits")
        assert self._hot is not None
        return self._hot


_HOT = ("hits", "bytes_out")
_NOTHING = memoryview(bytes(8)).cast("q")


class Stats:
    """Counts events of one region in this process, by function and name; shares them with other
    processes in ``folder``, if there is one."""

    def __init__(self, region: str, folder: Path | None = None) -> None:
        self.region = region
        self.folder = folder
        self.cells = _cells.get(folder) or _cells.setdefault(folder, Cells(folder))
        self._functions: dict[str, FunctionStats] = {}
        self._logged: dict[str, float] = {}
        self._unwritten = b""
        self._lock = threading.RLock()
        self.notes = event_log.Notes(region, folder)
        self.tidy: Callable[[], None] = lambda: None
        """Called about once a minute, in a thread: for what a region's store has to do then."""
        _all.add(self)

    def of(self, function: str) -> FunctionStats:
        """Return the counters of one function."""
        found = self._functions.get(function)
        if found is None:
            with self._lock:
                found = self._functions.setdefault(function, FunctionStats(self, function))
        return found

    def count(self, event: str, function: str = "", number: int = 1) -> None:
        self.of(function).count(event, number)

    def fault(self, kind: str, subject: str, error: object, function: str = "") -> None:
        """Count a fault as ``failed.KIND`` and say it, at most once in `LOG_INTERVAL`."""
        self.count(f"failed.{kind}", function)
        now = time.monotonic()
        with self._lock:
            silent = now - self._logged.get(kind, -LOG_INTERVAL) < LOG_INTERVAL
            if not silent:
                self._logged[kind] = now
        if not silent:
            logger.warning("region %s, %s: %s: %s", self.region, subject, kind, error)

    def __getitem__(self, event: str) -> int:
        """Return how often something happened in this process, in all functions."""
        return sum(each[event] for each in list(self._functions.values()))

    def snapshot(self) -> dict[str, int]:
        """Return all counts, by event."""
        counts: dict[str, int] = {}
        for each in list(self._functions.values()):
            for event, number in each.snapshot().items():
                if event not in SUMS:
                    counts[event] = counts.get(event, 0) + number
        return counts

    def counted(self) -> Counter[Name]:
        """Return all that this process has counted, as `beaker_regions.reports.metrics` does."""
        return Counter(
            {
                Name(self.region, name, event): number
                for name, each in list(self._functions.items())
                for event, number in each.snapshot().items()
            }
        )

    def write_samples(self, records: bytes, *, wait: bool = False) -> None:
        if self.folder is None:
            return
        with self._lock:
            records, self._unwritten = self._unwritten + records, b""
        if not sampling.append(self.folder, records, wait=wait):
            with self._lock:
                self._unwritten = (records + self._unwritten)[:UNWRITTEN]
        maintenance.when_due(self.folder, _adopt, _tidy)

    def flush(self) -> None:
        """Write what was sampled and waits to be written."""
        rest = b"".join([each.rest() for each in list(self._functions.values())])
        if rest or self._unwritten:
            self.write_samples(rest, wait=True)

    def adopt(self, choices: dict[int, Choice]) -> None:
        for each in list(self._functions.values()):
            choice = choices.get(function_id(self.region, each.name))
            if choice is not None:
                each.adopt(choice)

    def reset(self) -> None:
        self._lock = threading.RLock()
        self._unwritten = b""
        for each in list(self._functions.values()):
            each.reset()


def flush(folder: Path) -> None:
    """Write what this process has sampled for ``folder`` and not yet written."""
    for stats in list(_all):
        if stats.folder == folder:
            stats.flush()


def _adopt(folder: Path, choices: dict[int, Choice]) -> None:
    for stats in list(_all):
        if stats.folder == folder:
            stats.adopt(choices)


def _tidy(folder: Path) -> None:
    for stats in list(_all):
        if stats.folder == folder:
            stats.tidy()


def _after_fork() -> None:
    for cells in list(_cells.values()):
        cells.after_fork()
    for stats in list(_all):
        stats.reset()


def _at_exit() -> None:
    # Who is told to end while ending does so without a traceback.
    with contextlib.suppress(SystemExit, KeyboardInterrupt):
        for stats in list(_all):
            if stats.folder is not None and stats.folder.exists():
                stats.flush()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
