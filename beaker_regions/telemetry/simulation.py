"""A simulation of a function's sampled calls under other expiries.

A value expires a fixed time after its load, however often it is read. So the simulation keeps, for
each sampled key and each candidate expiry, the time of the last simulated load. A call is a miss if
that load is too long ago, or if the key was invalidated since. This is exact for the sampled keys,
takes one comparison for each candidate and call, and stores nothing but those times. Evictions for
lack of room are not simulated.

From the sample to all keys: a few hot keys are always sampled and counted as they are, because by
chance the sample would have too many or too few of them. The misses of the other keys are divided
by the sampled share of all keys. The number of all calls is known, not sampled. If the sample has
too few calls, SHARDS counts the missing ones as hits ("SHARDS-adj", FAST 2015, section 3.3). Here
they miss as often as the hotter of the other keys, which is also right for short expiries (the
regression estimator; Saerndal, Swensson and Wretman, "Model Assisted Survey Sampling", 1992,
chapter 6).
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
import struct
from array import array
from collections.abc import Iterable
from typing import NamedTuple

from beaker_regions.telemetry.sampling import ALL, HASH_BITS, UNKNOWN_AGE, Sample, is_count

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
CANDIDATES = (
    *(1, 2, 5, 10, 20, 30),
    *(MINUTE * n for n in (1, 2, 5, 10, 20, 30)),
    *(HOUR * n for n in (1, 2, 4, 6, 12)),
    *(DAY * n for n in (1, 2, 3, 5, 7, 14, 30)),
)
"""Seconds."""
KEYS = 8192
"""The most keys of a function that are simulated. With more the threshold falls."""
HOT = 16
"""Keys of a function that are simulated at every threshold."""
ADOPTED = 90
"""Seconds after which all processes sample a key that has become hot."""
KEPT = 7 * DAY
"""Seconds for which the results of each hour are kept."""
_NEVER = -math.inf
_KEY = struct.Struct("<QIf")


class Hour:
    """The results of one hour."""

    def __init__(
        self, calls: float = 0, invalidated: float = 0, misses: Iterable[float] | None = None
    ) -> None:
        self.calls = calls
        """All calls, sampled or not."""
        self.invalidated = invalidated
        """Misses after an invalidation, which no expiry avoids."""
        self.misses = list(misses) if misses is not None else [0.0] * len(CANDIDATES)
        """By candidate."""


class Key:
    """One key under every candidate."""

    __slots__ = ("calls", "generations", "loaded", "misses")

    def __init__(self, stored: float) -> None:
        self.generations = 0
        self.loaded = [stored] * len(CANDIDATES)
        """By candidate, the time of the last simulated load."""
        self.calls = 0.0
        self.misses = [0.0] * len(CANDIDATES)


class HotKey(NamedTuple):
    """One of the hot keys."""

    calls: float
    """Recent calls; older ones count less."""
    since: float
    """When it became hot, in seconds since the epoch."""


class Tally:
    """The summed results of some keys."""

    def __init__(self) -> None:
        self.calls = self.invalidated = 0
        self.misses = [0] * len(CANDIDATES)


class Simulation:
    """One function's simulation up to now."""

    def __init__(self) -> None:
        self.threshold = ALL
        """Keys below it are simulated."""
        self.hot: dict[int, HotKey] = {}
        """The keys that are simulated at every threshold."""
        self.keys: dict[int, Key] = {}
        self.hours: dict[int, Hour] = {}
        self.first = math.inf
        """The time of the first call, in seconds since the epoch."""
        self.last = 0.0

    def run(self, samples: list[Sample]) -> None:
        """Simulate further samples of the function. They are in the order of time."""
        if not samples:
            return
        # Only keys that all processes have sampled are complete.
        threshold = min(self.threshold, *(sample.threshold for sample in samples))
        begun = samples[0].at - ADOPTED
        known = {key for key, hot in self.hot.items() if hot.since < begun}
        self.first = min(self.first, samples[0].at)
        self.last = max(self.last, samples[-1].at)
        for at, of_hour in itertools.groupby(samples, lambda sample: int(sample.at) // HOUR):
            self._hour(self.hours.setdefault(at, Hour()), of_hour, threshold, known)
        self._heat(samples)
        self._bound()
        oldest = (int(self.last) - KEPT) // HOUR
        self.hours = {at: hour for at, hour in self.hours.items() if at >= oldest}

    def _hour(self, hour: Hour, samples: Iterable[Sample], threshold: int, known: set[int]) -> None:
        """Simulate the samples of one hour, and estimate the results of all keys. Of the keys in
        ``known`` every call was sampled, at every threshold."""
        limit = threshold << (HASH_BITS - 16)
        calls = 0
        hot, others, partly = Tally(), Tally(), Tally()
        for sample in samples:
            if is_count(sample):
                calls += sample.calls
            elif sample.key in known:
                self._call(hot, sample)
            elif sample.key < limit:
                self._call(others, sample)
            elif sample.key in self.hot:
                self._call(partly, sample)
        share = threshold / ALL
        hour.calls += calls
        hour.invalidated += hot.invalidated + others.invalidated / share
        # Every call of the hot keys was sampled, so they are counted as they are.
        unseen = max(0, calls - hot.calls) - others.calls / share if share < 1 else 0.0
        for index, ratio in enumerate(self._miss_ratios() if unseen else [0.0] * len(CANDIDATES)):
            misses = others.misses[index] / share + ratio * unseen
            hour.misses[index] += hot.misses[index] + max(0.0, misses)

    def _miss_ratios(self) -> list[float]:
        """Return the miss ratio of the keys that are not hot, for each candidate. Keys with many
        calls count more, because they make a sample too large or too small."""
        keys = [key for hash_, key in self.keys.items() if hash_ not in self.hot]
        squares = sum(key.calls**2 for key in keys) or 1.0
        return [
            sum(key.calls * key.misses[index] for key in keys) / squares
            for index in range(len(CANDIDATES))
        ]

    def _heat(self, samples: list[Sample]) -> None:
        """Choose the hot keys: those with the most recent calls."""
        heat = {key: hot.calls / 2 for key, hot in self.hot.items()}
        for sample in samples:
            if not is_count(sample):
                heat[sample.key] = heat.get(sample.key, 0.0) + sample.calls
        self.hot = {
            key: HotKey(calls, self.hot[key].since if key in self.hot else self.last)
            for key, calls in heapq.nlargest(HOT, heat.items(), key=lambda item: item[1])
        }

    def _call(self, tally: Tally, sample: Sample) -> None:
        at, span = sample.at, sample.span / 1000
        key = self.keys.get(sample.key)
        is_new = key is None
        if key is None:
            key = Key(_NEVER if sample.age == UNKNOWN_AGE else at - sample.age)
            self.keys[sample.key] = key
        if not sample.generations or key.generations not in (0, sample.generations):
            key.loaded = [_NEVER] * len(CANDIDATES)
            tally.invalidated += not is_new
        key.generations = sample.generations
        key.calls += sample.calls
        tally.calls += sample.calls
        loaded = key.loaded
        for index, expire in enumerate(CANDIDATES):
            misses = 0
            if at - loaded[index] >= expire:
                misses = 1
                loaded[index] = at
            if sample.calls > 1 and at + span - loaded[index] >= expire:
                # The value expired within the run, and the next call of the run loaded it again.
                misses += 1
                loaded[index] = max(at, min(at + span, loaded[index] + expire))
            if misses:
                key.misses[index] += misses
                tally.misses[index] += misses

    def _bound(self) -> None:
        """If there are too many keys, drop those with the highest hashes; if there are few, raise
        the threshold."""
        shift = HASH_BITS - 16
        if len(self.keys) > KEYS:
            highest = heapq.nsmallest(KEYS, self.keys)[-1]
            self.threshold = max(1, highest >> shift)
        elif len(self.keys) < KEYS // 4:
            self.threshold = min(ALL, self.threshold * 2)
        limit = self.threshold << shift
        old = self.last - CANDIDATES[-1]
        self.keys = {
            hash_: key
            for hash_, key in self.keys.items()
            if (hash_ < limit or hash_ in self.hot) and key.loaded[-1] > old
        }

    # -- storing it ------------------------------------------------------------------------

    def pack(self) -> bytes:
        head = {
            "candidates": CANDIDATES,
            "threshold": self.threshold,
            "hot": list(self.hot.items()),
            "first": self.first,
            "last": self.last,
            "hours": [
                [at, hour.calls, hour.invalidated, hour.misses] for at, hour in self.hours.items()
            ],
        }
        keys = [
            _KEY.pack(hash_, key.generations, key.calls)
            + array("d", key.loaded).tobytes()
            + array("f", key.misses).tobytes()
            for hash_, key in self.keys.items()
        ]
        return json.dumps(head).encode() + b"\n" + b"".join(keys)

    @classmethod
    def unpack(cls, packed: bytes, *, with_keys: bool = True) -> Simulation:
        """Return the packed simulation, which has thousands of keys. Raises ValueError if it is
        damaged or another release's."""
        simulation = cls()
        head, _, keys = packed.partition(b"\n")
        try:
            found = json.loads(head)
            if tuple(found["candidates"]) != CANDIDATES:
                raise ValueError("other candidates")
            simulation.threshold, simulation.first = found["threshold"], found["first"]
            simulation.last = found["last"]
            simulation.hot = {key: HotKey(*hot) for key, hot in found["hot"]}
            simulation.hours = {at: Hour(*of_hour) for at, *of_hour in found["hours"]}
        except (KeyError, TypeError) as error:
            raise ValueError("no simulation") from error
        if not with_keys:
            return simulation
        middle = _KEY.size + 8 * len(CANDIDATES)
        size = middle + 4 * len(CANDIDATES)
        if len(keys) % size:
            raise ValueError("cut short")
        for at in range(0, len(keys), size):
            hash_, generations, calls = _KEY.unpack_from(keys, at)
            key = simulation.keys[hash_] = Key(_NEVER)
            key.generations, key.calls = generations, calls
            key.loaded = array("d", keys[at + _KEY.size : at + middle]).tolist()
            key.misses = array("f", keys[at + middle : at + size]).tolist()
        return simulation
