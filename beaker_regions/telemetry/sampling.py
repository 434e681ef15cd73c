"""A sample of the calls: of some keys, every call, in a log that all processes of a host share.

Spatial sampling (Waldspurger, Park, Garthwaite and Ahmad, "Efficient MRC Construction with
SHARDS", FAST 2015): a key is sampled if its hash lies below a threshold, so that of a sampled key
nothing is missed, in whatever process. An entry's address is a hash already. The threshold falls
where too much would be sampled, so memory, log and time stay bounded; each record tells it.

Calls of one key within a second, that saw the same generations, are one *run*: one record. The
generations tell when the key was invalidated, by whatever of its tags, and whoever did it.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from beaker_regions.runtime.atomic_write import read_file
from beaker_regions.telemetry import aggregate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from beaker_regions.entries.entry import Lookup

ALL = 1 << 16
"""The threshold under which every key lies."""
HASH_BITS = 64
KEY_SIZE = 8
"""Bytes of an address that tell its key."""
RUNS = 100
"""Runs of a function that a process notes a second; of more the threshold is halved."""
LOG_LIMIT = 32 << 20
"""Bytes of the log beyond which nothing is noted until somebody has folded it."""
_RECORD = struct.Struct("<dQQIIHHI")
LATEST = 2.0**33
"""Seconds since the epoch."""
UNKNOWN_AGE = 2**32 - 1
_MOST_CALLS = 2**32 - 1


class Sample(NamedTuple):
    """A run of calls of one key; or, with no key, how many calls of the function there were."""

    at: float
    """Of the first call, in seconds since the epoch."""
    function: int
    """Hash of the region and the function (`function_id`)."""
    key: int
    """The first bits of the hash."""
    generations: int
    """A hash of the generations; 0 where one was missing: nothing stored before counts."""
    calls: int
    span: int
    """Milliseconds from the first call to the last."""
    threshold: int
    """Of the function in this process; of `ALL`."""
    age: int
    """Seconds since the value was stored that the first call found; or UNKNOWN_AGE."""


def is_count(sample: Sample) -> bool:
    """Whether it tells how many calls there were."""
    return not sample.key and not sample.generations and not sample.age


def function_id(region: str, function: str) -> int:
    name = f"{region}\0{function}".encode()
    return zlib.crc32(name) << 32 | zlib.crc32(name[::-1])


def below(threshold: int) -> bytes:
    """Return what an address lies below if it is sampled."""
    return b"\xff" * 32 if threshold >= ALL else threshold.to_bytes(2)


class Run:
    """A run that goes on."""

    __slots__ = ("age", "at", "calls", "generations", "last")

    def __init__(self, now: float, reading: Lookup) -> None:
        self.at = self.last = now
        self.calls = 1
        self.generations = reading.generations
        record = reading.record
        matching = record is not None and record.generations == reading.generations
        self.age = UNKNOWN_AGE
        if record is not None and matching:
            self.age = max(0, min(UNKNOWN_AGE - 1, round(now - record.stored_at)))


class FunctionSampler:
    """The sample of one function's calls in this process. Its caller sees to it that one thread
    at a time uses it."""

    __slots__ = ("_done", "_function", "_noted", "below", "hot", "runs", "second", "threshold")

    def __init__(self, region: str, function: str) -> None:
        self._function = function_id(region, function)
        self.runs: dict[bytes, Run] = {}
        """Those that go on, by address."""
        self._done: list[tuple[bytes, Run]] = []
        self.second = 0
        """The one in which they have begun."""
        self._noted = 0
        self.threshold = ALL
        self.below = below(ALL)
        self.hot: frozenset[bytes] = frozenset()
        """The first bytes of addresses that are sampled wherever they lie."""

    def begin_run(self, now: float, address: bytes, reading: Lookup) -> bool:
        """Begin a run of a sampled key; whether it is time to `take` the runs that have ended."""
        run = self.runs.get(address)
        due = int(now) != self.second
        if due:
            self._done += self.runs.items()
            self.runs.clear()
            self.second = int(now)
        elif run is not None:
            self._done.append((address, run))
        self.runs[address] = Run(now, reading)
        if len(self.runs) - len(self.hot) > RUNS:
            self.use(self.threshold // 2, self.hot)
        return due

    def use(self, threshold: int, hot: frozenset[bytes]) -> None:
        """Sample the keys below another threshold, and the hot ones, from now on."""
        self.threshold = max(1, min(ALL, threshold))
        self.below = below(self.threshold)
        self.hot = hot

    def take(self, now: float, calls: int, *, all_of_it: bool = False) -> bytes:
        """Return the records of what was noted; ``calls`` is how many calls the function has had
        in this process, sampled or not."""
        if all_of_it:
            self._done += self.runs.items()
            self.runs.clear()
        samples = [
            Sample(
                run.at,
                self._function,
                int.from_bytes(address[:KEY_SIZE]),
                _fingerprint(run.generations),
                run.calls,
                # A clock may be set back meanwhile.
                max(0, min(65535, round((run.last - run.at) * 1000))),
                self.threshold - 1,
                run.age,
            )
            for address, run in self._done
        ]
        self._done.clear()
        # A file of counts may be damaged.
        new, self._noted = max(0, min(_MOST_CALLS, calls - self._noted)), calls
        samples.append(Sample(now, self._function, 0, 0, new, 0, self.threshold - 1, 0))
        return b"".join([pack(sample) for sample in samples])


def _fingerprint(generations: tuple[bytes | None, ...]) -> int:
    known = [generation for generation in generations if generation]
    return 0 if len(known) < len(generations) else zlib.crc32(b"".join(known)) | 1


def pack(sample: Sample) -> bytes:
    at, function, key, generations, calls, span, threshold, age = sample
    return _RECORD.pack(at, function, key, generations, calls, span, threshold, age)


def append(folder: Path, records: bytes, *, wait: bool = False) -> bool:
    """Append records to the log of the host; False when it cannot be written, or, unless this may
    wait, somebody is about to read it."""
    try:
        with aggregate.locked(folder, fcntl.LOCK_SH | (0 if wait else fcntl.LOCK_NB)):
            log = os.open(
                folder / "samples",
                os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW,
                0o660,
            )
            try:
                if os.fstat(log).st_size < LOG_LIMIT:
                    os.write(log, records)
            finally:
                os.close(log)
    except OSError:
        return False
    return True


def take(folder: Path) -> list[Sample]:
    """Return what the log holds, in the order of time, and empty it. The caller holds the lock."""
    log = folder / "samples"
    try:
        content = read_file(log)
    except FileNotFoundError:
        return []
    log.unlink()
    return sorted(unpacked(content))


def unpacked(content: bytes) -> Iterator[Sample]:
    whole = len(content) // _RECORD.size * _RECORD.size
    for fields in _RECORD.iter_unpack(content[:whole]):
        sample = Sample(*fields)
        # What has a date that no clock shows is damaged.
        if 0 <= sample.at < LATEST and sample.threshold < ALL:
            yield sample._replace(threshold=sample.threshold + 1)
