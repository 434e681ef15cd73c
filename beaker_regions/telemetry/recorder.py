"""Counters of a region and its functions in this process, and the logging of faults.

Every call of a function is a hit, stale (served the old value) or a miss.
`beaker_regions.reports.metrics` adds up the counts of all processes.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet, WeakValueDictionary

from beaker_regions.entries.content import CachedFile
from beaker_regions.entries.entry import Entry, Lookup
from beaker_regions.entries.known import Known
from beaker_regions.entries.records import Codec
from beaker_regions.entries.tag_users import TagUsers
from beaker_regions.telemetry import event_log, maintenance, miss_reasons, sampling, tracing
from beaker_regions.telemetry.load_memory import load_memory
from beaker_regions.telemetry.maintenance import Choice
from beaker_regions.telemetry.sampling import KEY_SIZE, FunctionSampler, function_id
from beaker_regions.telemetry.shared_counters import Name, SharedCounters

logger = logging.getLogger("beaker_regions")

LOG_INTERVAL = 60.0
"""Seconds during which a fault of one kind in one region is logged once. Each one is counted."""
UNWRITTEN = 1 << 20
"""Bytes of samples that are kept while the log cannot be written. Further samples are lost."""

SUMS = ("load_nanoseconds", "bytes_in", "bytes_out")
"""Names that are sums, not counts of events."""

_DESCRIBED = (Codec.FILE, Codec.CONTENT, Codec.PARTS)
"""Records whose payload is not the value itself."""

_MEASURED = (bytes, str)

IMPORTS = "import:"
"""Before the events of `counting_imports`."""
_origin = ""

_shared_counters: WeakValueDictionary[Path | None, SharedCounters] = WeakValueDictionary()
_all: WeakSet[Stats] = WeakSet()


def size_of(value: Any) -> int:
    """Return the size of a content or bytes, or the characters of a text; 0 for other values, since
    they would have to be pickled first."""
    if isinstance(value, _MEASURED):
        return len(value)
    return value.size if isinstance(value, CachedFile) else 0


class FunctionStats:
    """The counts of one function in this process; with an empty name, of the region as a whole."""

    __slots__ = ("_at", "_before", "_hot", "_largest", "_lock", "_sampler", "_stats", "name")

    def __init__(self, stats: Stats, function: str) -> None:
        self._stats = stats
        self.name = function
        self.reset()

    def reset(self) -> None:
        """Begin at 0 again. The child of a fork does so."""
        self._lock = threading.RLock()  # a signal handler may call a cached function too
        self._at: dict[str, tuple[memoryview, int]] = {}
        self._hot: tuple[memoryview, int, int] | None = None
        self._before: Counter[str] = Counter()
        """The counts of this process in earlier periods."""
        self._sampler = FunctionSampler(self._stats.region, self.name)
        self._largest = 0

    def count(self, event: str, number: int = 1) -> None:
        if tracing.watchers:
            tracing.count(event, self.name, number)
        self._stats.begin_period(time.time())
        with self._lock:
            numbers, at = self._at.get(event) or self._allocate(event)
            try:
                numbers[at] += number
            except ValueError:  # too large: the file is damaged
                numbers[at] = number

    def hit(self, entry: Entry, lookup: Lookup, value: Any) -> None:
        """Sample a hit, and count it."""
        record = lookup.record
        if type(lookup) is Known:
            size = lookup.size
        elif record is None or record.codec in _DESCRIBED:
            size = size_of(value)
        else:
            size = len(record.payload)
        address, sampler = entry.address, self._sampler
        now, run = time.time(), sampler.runs.get(address)
        if run is None or int(now) != sampler.second or run.generations != lookup.generations:
            run = None
            if address < sampler.below or address[:KEY_SIZE] in sampler.hot:
                self._sample(address, lookup)
        with self._lock:
            if run is not None:
                run.calls += 1
                run.last = now
            numbers, hits, bytes_out = self._hot or self._allocate_hot()
            try:
                numbers[hits] += 1
                numbers[bytes_out] += size
            except ValueError:  # too large: the file is damaged
                numbers[hits], numbers[bytes_out] = 1, size
        if size > self._largest:
            self._log_size(size)

    def missed(self, reason: str) -> None:
        """Count a miss, and its reason (`beaker_regions.telemetry.miss_reasons`)."""
        self.count("misses")
        self.count(f"{miss_reasons.EVENT}{reason}")

    def loaded(self, seconds: float) -> None:
        self.count("loads")
        self.count("load_nanoseconds", round(seconds * 1e9))
        self._stats.event_log.load(self.name, seconds)

    def stored(self, value: Any) -> None:
        """Count the size of a stored value, if it is known."""
        if size := size_of(value):
            self.count("bytes_in", size)
            if size > self._largest:
                self._log_size(size)

    def _log_size(self, size: int) -> None:
        self._largest = size
        self._stats.event_log.value(self.name, size)

    def sample(self, entry: Entry, lookup: Lookup) -> None:
        """Sample a call, if its key is sampled. It is counted afterwards."""
        address, sampler = entry.address, self._sampler
        if address < sampler.below or address[:KEY_SIZE] in sampler.hot:
            self._sample(address, lookup)

    def _sample(self, address: bytes, lookup: Lookup) -> None:
        now, sampler = time.time(), self._sampler
        self._stats.begin_period(now)
        with self._lock:
            run = sampler.runs.get(address)
            if run and int(now) == sampler.second and run.generations == lookup.generations:
                run.calls += 1
                run.last = now
                return
            due = sampler.begin_run(now, address, lookup)
            records = sampler.take(now, self.calls()) if due else b""
        if records:
            self._stats.write_samples(records)

    def calls(self) -> int:
        return sum(self[event] for event in ("hits", "stale", "misses"))

    def rest(self) -> bytes:
        """Return the samples that are not yet written, as records."""
        with self._lock:
            if not self.calls():
                return b""
            return self._sampler.take(time.time(), self.calls(), all_of_it=True)

    @property
    def threshold(self) -> int:
        """Keys below it are sampled; of `sampling.ALL`."""
        return self._sampler.threshold

    def adopt(self, choice: Choice) -> None:
        """Sample the keys that all processes sample."""
        with self._lock:
            # The threshold rises slowly: this process may have lowered it because it is busy.
            self._sampler.use(min(choice.threshold, 2 * self.threshold), choice.hot)

    def __getitem__(self, event: str) -> int:
        numbers, at = self._at.get(event, (_NOTHING, 0))
        return self._before[event] + numbers[at]

    def snapshot(self) -> dict[str, int]:
        return {event: self[event] for event in {*self._before, *self._at}}

    def end_period(self) -> None:
        """Count in new files from now on."""
        with self._lock:
            self._before = Counter(self.snapshot())
            self._at, self._hot = {}, None

    def _allocate(self, event: str) -> tuple[memoryview, int]:
        # The two counts of a hit lie together, so that one lookup finds both.
        events = _HOT if event in _HOT else (event,)
        slots = self._stats.counters.allocate(
            [Name(self._stats.region, self.name, f"{_origin}{event}") for event in events]
        )
        made = [(slots.numbers, index) for index in slots.indexes]
        self._at.update(zip(events, made, strict=True))
        if events is _HOT:
            self._hot = (slots.numbers, *slots.indexes)  # type: ignore[assignment]
        return self._at[event]

    def _allocate_hot(self) -> tuple[memoryview, int, int]:
        self._allocate("hits")
        assert self._hot is not None
        return self._hot


_HOT = ("hits", "bytes_out")
_NOTHING = memoryview(bytes(8)).cast("q")


class Stats:
    """Counts the events of one region in this process, by function and name. If there is a
    ``folder``, other processes can read the counts there."""

    def __init__(self, region: str, folder: Path | None = None) -> None:
        self.region = region
        self.folder = folder
        self.counters = _shared_counters.get(folder) or _shared_counters.setdefault(
            folder, SharedCounters(folder)
        )
        self._functions: dict[str, FunctionStats] = {}
        self._logged: dict[str, float] = {}
        self._unwritten = b""
        self._lock = threading.RLock()
        self.event_log = event_log.EventLog(region, folder)
        self.loads = load_memory(folder)
        self.tag_users = TagUsers()
        self.tidy: Callable[[], None] = lambda: None
        """Called about once a minute, in a thread, for the regular work of a region's store."""
        _all.add(self)

    def of(self, function: str) -> FunctionStats:
        """Return the counters of one function."""
        found = self._functions.get(function)
        if found is None:
            with self._lock:
                found = self._functions.setdefault(function, FunctionStats(self, function))
        return found

    def begin_period(self, now: float) -> None:
        """Let all that this process counts in this folder go to new files, if it is time."""
        counters = self.counters
        if not counters.begins <= now < counters.ends and counters.begin_period(now):
            for stats in list(_all):
                if stats.counters is counters:
                    stats.end_period()

    def end_period(self) -> None:
        """Let all functions count in new places from now on."""
        for each in list(self._functions.values()):
            each.end_period()

    def count(self, event: str, function: str = "", number: int = 1) -> None:
        self.of(function).count(event, number)

    def fault(self, kind: str, subject: str, error: object, function: str = "") -> None:
        """Count a fault as ``failed.KIND``, and log it at most once in `LOG_INTERVAL`."""
        self.count(f"failed.{kind}", function)
        now = time.monotonic()
        with self._lock:
            silent = now - self._logged.get(kind, -LOG_INTERVAL) < LOG_INTERVAL
            if not silent:
                self._logged[kind] = now
        if not silent:
            logger.warning("region %s, %s: %s (failed.%s)", self.region, subject, error, kind)

    def __getitem__(self, event: str) -> int:
        """Return the number of an event in this process, for all functions together."""
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
        """Return all counts of this process, as `beaker_regions.telemetry.aggregate.read` does."""
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
        """Write the samples that are not yet written."""
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


@contextlib.contextmanager
def counting_imports() -> Iterator[None]:
    """Count what this process does in a block apart from what visitors do.

    The staff page shows it as an import, and leaves it out of all other numbers.

    Returns:
        A context manager.

    Example::

        with counting_imports():
            for path in paths:
                content_of(path)
    """
    global _origin
    _origin, before = IMPORTS, _origin
    _count_in_new_slots()
    try:
        yield
    finally:
        _origin = before
        _count_in_new_slots()


def _count_in_new_slots() -> None:
    for stats in list(_all):
        stats.end_period()


def _in_folder(folder: Path) -> list[Stats]:
    return [stats for stats in list(_all) if stats.folder == folder]


def flush(folder: Path) -> None:
    """Write the samples of this process for ``folder`` that are not yet written."""
    for stats in _in_folder(folder):
        stats.flush()


def _adopt(folder: Path, choices: dict[int, Choice]) -> None:
    for stats in _in_folder(folder):
        stats.adopt(choices)


def _tidy(folder: Path) -> None:
    for stats in _in_folder(folder):
        stats.tidy()


def _after_fork() -> None:
    for counters in list(_shared_counters.values()):
        counters.after_fork()
    for stats in list(_all):
        stats.reset()


def _at_exit() -> None:
    # A process that gets a signal to end while it ends does so without a traceback.
    with contextlib.suppress(SystemExit, KeyboardInterrupt):
        for stats in list(_all):
            if stats.folder is not None and stats.folder.exists():
                stats.flush()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
