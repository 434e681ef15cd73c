"""What the sampled calls of a function would have met under other expiries.

A value expires a fixed time after it was loaded, whoever asks for it meanwhile. So each sampled
key is replayed under each candidate expiry: for every one it is kept when the value would have
been loaded last, and a call is a miss where that is too long ago, or where an invalidation lies
between. That is exact for the sampled keys, takes one comparison a candidate and call, and needs
no memory but those times. What a store evicts for want of room is not part of it.

All keys together: a few hot keys are sampled always and stand for themselves; chance would have
too many of them in the sample, or too few. The misses of the others are divided by their share of
all keys. How many calls there were is known, not sampled: SHARDS takes what the sample has too few
of for hits ("SHARDS-adj", FAST 2015, section 3.3); here it is taken to miss as often as the hotter
of the others do, which also holds for short expiries (the regression estimator; Saerndal, Swensson
and Wretman, "Model Assisted Survey Sampling", 1992, chapter 6).
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
import struct
from array import array
from typing import TYPE_CHECKING, NamedTuple

from beaker_regions.telemetry.sampling import ALL, HASH_BITS, UNKNOWN_AGE, is_count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from beaker_regions.telemetry.sampling import Sample

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
"""Keys of a function that are replayed at the most: with more the threshold falls."""
HOT = 16
"""Keys of a function that are replayed wherever they lie."""
ADOPTED = 90
"""Seconds after which all processes sample a key that has become hot."""
KEPT = 7 * DAY
"""Seconds for which results are kept, by the hour."""
_NEVER = -math.inf
_KEY = struct.Struct("<QIf")


class Hour:
    """What was replayed in one hour."""

    def __init__(
        self, calls: float = 0, invalidated: float = 0, misses: Iterable[float] | None = None
    ) -> None:
        self.calls = calls
        """All of them, sampled or not."""
        self.invalidated = invalidated
        """Misses that follow an invalidation, and which no expiry avoids."""
        self.misses = list(misses) if misses is not None else [0.0] * len(CANDIDATES)
        """Of each candidate."""


class Key:
    """One key, under every candidate."""

    __slots__ = ("calls", "generations", "loaded", "misses")

    def __init__(self, stored: float) -> None:
        self.generations = 0
        self.loaded = [stored] * len(CANDIDATES)
        """When its value would have been loaded last."""
        self.calls = 0.0
        self.misses = [0.0] * len(CANDIDATES)


class Hot(NamedTuple):
    """What makes a key one of the hot ones."""

    calls: float
    """Of late."""
    since: float
    """When it became one, in seconds since the epoch."""


class Tally:
    """What the replay of some keys came to."""

    def __init__(self) -> None:
        self.calls = self.invalidated = 0
        self.misses = [0] * len(CANDIDATES)


class Replay:
    """One function's replay, as far as it has got."""

    def __init__(self) -> None:
        self.threshold = ALL
        """Keys below it are replayed."""
        self.hot: dict[int, Hot] = {}
        """The keys that are replayed wherever they lie."""
        self.keys: dict[int, Key] = {}
        self.hours: dict[int, Hour] = {}
        self.first = math.inf
        """When the first call was, in seconds since the epoch."""
        self.last = 0.0

    def run(self, samples: list[Sample]) -> None:
        """Replay further samples of the function, in the order of time."""
        if not samples:
            return
        # What not all processes have sampled, nobody has.
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
        """Replay samples of one hour, and estimate what all keys would have met; ``known`` are
        the keys of which every call was sampled, whatever the threshold."""
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
        # Of hot keys every call was sampled, so they stand for themselves alone.
        unseen = max(0, calls - hot.calls) - others.calls / share if share < 1 else 0.0
        for which, ratio in enumerate(self._miss_ratios() if unseen else [0.0] * len(CANDIDATES)):
            misses = others.misses[which] / share + ratio * unseen
            hour.misses[which] += hot.misses[which] + max(0.0, misses)

    def _miss_ratios(self) -> list[float]:
        """Return the share of misses among the calls, for each candidate, of keys as hot as those
        that make the difference when a sample has too many or too few of them."""
        keys = [key for hash_, key in self.keys.items() if hash_ not in self.hot]
        squares = sum(key.calls**2 for key in keys) or 1.0
        return [
            sum(key.calls * key.misses[which] for key in keys) / squares
            for which in range(len(CANDIDATES))
        ]

    def _heat(self, samples: list[Sample]) -> None:
        """Choose the keys that are sampled wherever they lie: those with the most calls of late."""
        heat = {key: hot.calls / 2 for key, hot in self.hot.items()}
        for sample in samples:
            if not is_count(sample):
                heat[sample.key] = heat.get(sample.key, 0.0) + sample.calls
        self.hot = {
            key: Hot(calls, self.hot[key].since if key in self.hot else self.last)
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
        for which, expire in enumerate(CANDIDATES):
            misses = 0
            if at - loaded[which] >= expire:
                misses = 1
                loaded[which] = at
            if sample.calls > 1 and at + span - loaded[which] >= expire:
                # It ended within the run, and the next call of the run has loaded it again.
                misses += 1
                loaded[which] = max(at, min(at + span, loaded[which] + expire))
            if misses:
                key.misses[which] += misses
                tally.misses[which] += misses

    def _bound(self) -> None:
        """Let the keys of the highest hashes go where there are too many; take in more of them
        where there are few."""
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

    # -- keeping it ------------------------------------------------------------------------

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
    def unpack(cls, packed: bytes) -> Replay:
        """Return what was packed. Raises ValueError for what was not, or by another release."""
        replay = cls()
        head, _, keys = packed.partition(b"\n")
        try:
            found = json.loads(head)
            if tuple(found["candidates"]) != CANDIDATES:
                raise ValueError("other candidates")
            replay.threshold, replay.first = found["threshold"], found["first"]
            replay.last = found["last"]
            replay.hot = {key: Hot(*hot) for key, hot in found["hot"]}
            replay.hours = {at: Hour(*of_hour) for at, *of_hour in found["hours"]}
        except (KeyError, TypeError) as error:
            raise ValueError("no replay") from error
        middle = _KEY.size + 8 * len(CANDIDATES)
        size = middle + 4 * len(CANDIDATES)
        if len(keys) % size:
            raise ValueError("cut short")
        for at in range(0, len(keys), size):
            hash_, generations, calls = _KEY.unpack_from(keys, at)
            key = replay.keys[hash_] = Key(_NEVER)
            key.generations, key.calls = generations, calls
            key.loaded = array("d", keys[at + _KEY.size : at + middle]).tolist()
            key.misses = array("f", keys[at + middle : at + size]).tolist()
        return replay
