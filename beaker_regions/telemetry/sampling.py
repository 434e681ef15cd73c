"""A sample of the calls: every call of some keys, in a log that all processes of a host share.

This is spatial sampling (Waldspurger, Park, Garthwaite and Ahmad, "Efficient MRC Construction with
SHARDS", FAST 2015). A key is sampled if its hash is below a threshold, so all processes sample the
same keys, and every call of them. An entry's address is already a hash. The threshold falls if
there are too many samples, so memory, log and time stay bounded. Each record contains it.

Calls of one key within a second, with the same generations, are one *run*, which is one record. A
change of the generations shows that the key was invalidated, by any of its tags and any process.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from beaker_regions.entries.entry import Lookup
from beaker_regions.runtime.atomic_write import open_plain, read_file
from beaker_regions.telemetry import aggregate

ALL = 1 << 16
"""The threshold with which every key is sampled."""
HASH_BITS = 64
KEY_SIZE = 8
"""Bytes of an address that stand for its key."""
RUNS = 100
"""Runs of a function that a process records a second. With more the threshold is halved."""
LOG_LIMIT = 32 << 20
"""Bytes of the log. A full log takes no samples until a process has read and emptied it."""
_RECORD = struct.Struct("<dQQIIHHI")
LATEST = 2.0**33
"""Seconds since the epoch."""
UNKNOWN_AGE = 2**32 - 1
_MOST_CALLS = 2**32 - 1


class Sample(NamedTuple):
    """A run of calls of one key; without a key, the number of calls of the function."""

    at: float
    """The time of the first call, in seconds since the epoch."""
    function: int
    """Hash of the region and the function (`function_id`)."""
    key: int
    """The first bits of the hash."""
    generations: int
    """A hash of the generations; 0 if one was missing: all stored values are invalid then."""
    calls: int
    span: int
    """Milliseconds from the first call to the last."""
    threshold: int
    """The function's threshold in this process; of `ALL`."""
    age: int
    """Age in seconds of the value that the first call found; or UNKNOWN_AGE."""


def is_count(sample: Sample) -> bool:
    """Whether this is a number of calls, not a run."""
    return not sample.key and not sample.generations and not sample.age


def function_id(region: str, function: str) -> int:
    name = f"{region}\0{function}".encode()
    return zlib.crc32(name) << 32 | zlib.crc32(name[::-1])


def below(threshold: int) -> bytes:
    """Return the address below which all addresses are sampled."""
    return b"\xff" * 32 if threshold >= ALL else threshold.to_bytes(2)


class Run:
    """A run that has not ended."""

    __slots__ = ("age", "at", "calls", "generations", "last")

    def __init__(self, now: float, lookup: Lookup) -> None:
        self.at = self.last = now
        self.calls = 1
        self.generations = lookup.generations
        record = lookup.record
        matching = record is not None and record.generations == lookup.generations
        self.age = UNKNOWN_AGE
        if record is not None and matching:
            self.age = max(0, min(UNKNOWN_AGE - 1, round(now - record.stored_at)))


class FunctionSampler:
    """The sample of one function's calls in this process. The caller lets one thread at a time use
    it."""

    __slots__ = (
        *("_before", "_calls", "_done", "_function"),
        *("below", "hot", "runs", "second", "threshold"),
    )

    def __init__(self, region: str, function: str) -> None:
        self._function = function_id(region, function)
        self.runs: dict[bytes, Run] = {}
        """Those that have not ended, by address."""
        self._done: list[tuple[bytes, Run]] = []
        self.second = 0
        """The second in which they began."""
        self._before = 0
        """The second of the runs before them: 0 if there were none."""
        self._calls = 0
        """The number of calls at the last `take`."""
        self.threshold = ALL
        self.below = below(ALL)
        self.hot: frozenset[bytes] = frozenset()
        """The first bytes of addresses that are sampled at every threshold."""

    def begin_run(self, now: float, address: bytes, lookup: Lookup) -> bool:
        """Begin a run of a sampled key. Returns whether it is time to `take` the ended runs."""
        run = self.runs.get(address)
        due = int(now) != self.second
        if due:
            self._done += self.runs.items()
            self.runs.clear()
            self._before, self.second = self.second, int(now)
        elif run is not None:
            self._done.append((address, run))
        self.runs[address] = Run(now, lookup)
        if len(self.runs) - len(self.hot) > RUNS:
            self.use(self.threshold // 2, self.hot)
        return due

    def use(self, threshold: int, hot: frozenset[bytes]) -> None:
        """From now on sample the keys below another threshold, and the hot ones."""
        self.threshold = max(1, min(ALL, threshold))
        self.below = below(self.threshold)
        self.hot = hot

    def take(self, now: float, calls: int, *, all_of_it: bool = False) -> bytes:
        """Return the records of the ended runs. ``calls`` is the number of the function's calls in
        this process before the running one, sampled or not. Those that are new belong to the time
        of the ended runs: there may have been none since."""
        if all_of_it:
            self._done += self.runs.items()
            self.runs.clear()
        samples = [
            Sample(
                run.at,
                self._function,
                int.from_bytes(address[:KEY_SIZE]),
                fingerprint(run.generations),
                run.calls,
                # The clock may have been set back.
                max(0, min(65535, round((run.last - run.at) * 1000))),
                self.threshold - 1,
                run.age,
            )
            for address, run in self._done
        ]
        self._done.clear()
        # A file of counts may be damaged.
        new, self._calls = max(0, min(_MOST_CALLS, calls - self._calls)), calls
        at = float((self.second if all_of_it else self._before) or now)
        samples.append(Sample(at, self._function, 0, 0, new, 0, self.threshold - 1, 0))
        return b"".join([pack(sample) for sample in samples])


def fingerprint(generations: tuple[bytes | None, ...]) -> int:
    """Return a hash of generations; 0 if one is missing."""
    known = [generation for generation in generations if generation]
    return 0 if len(known) < len(generations) else zlib.crc32(b"".join(known)) | 1


def pack(sample: Sample) -> bytes:
    at, function, key, generations, calls, span, threshold, age = sample
    return _RECORD.pack(at, function, key, generations, calls, span, threshold, age)


def append(folder: Path, records: bytes, *, wait: bool = False) -> bool:
    """Append records to the host's log. Returns False if it cannot be written, or, without
    ``wait``, if another process has the lock."""
    try:
        with (
            aggregate.locked(folder, fcntl.LOCK_SH | (0 if wait else fcntl.LOCK_NB)),
            open(folder / "samples", "ab", buffering=0, opener=open_plain) as log,
        ):
            if os.fstat(log.fileno()).st_size < LOG_LIMIT:
                log.write(records)
    except OSError:
        return False
    return True


def take(folder: Path) -> list[Sample]:
    """Return the samples of the log in the order of time, and empty it. The caller holds the
    lock."""
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
        # A sample with an impossible date is damaged.
        if 0 <= sample.at < LATEST and sample.threshold < ALL:
            yield sample._replace(threshold=sample.threshold + 1)
