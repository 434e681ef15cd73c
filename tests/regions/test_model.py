"""The protocol in every order of its steps: no read is older than an invalidation before it.

Callers and an invalidator run over a store in memory whose every command is one atomic step, as a
memcached server's is. Between any two steps another may go on, or a key be evicted. The test goes
through all runs with up to a number of such disturbances (Musuvathi and Qadeer, "Iterative
Context Bounding for Systematic Testing of Multithreaded Programs", PLDI 2007), and through
random runs with any number of them.
"""

from __future__ import annotations

import math
import os
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest

from regions.missing import MISSING
from regions.options import RegionOptions
from regions.policy import Policy
from regions.records import Record, dump_value
from regions.region import Region
from regions.steps import Load, Wait
from regions.store import Entry, Reading, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Choose = Callable[[int], int]
    """Picks one of so many ways to go on."""

OWN, TAG = "e00", "t00"


class Turns:
    """Lets one actor run at a time, each in a thread of its own; who, and what is evicted, is
    picked at every step."""

    def __init__(self, choose: Choose, disturbances: int, held: dict[str, Any]) -> None:
        self._choose = choose
        self._left = disturbances
        self._held = held
        self._alive: dict[str, threading.Semaphore] = {}
        self._running = ""
        self._over = threading.Semaphore(0)
        self.error: BaseException | None = None

    def run(self, actors: dict[str, Callable[[], None]]) -> None:
        self._alive = {name: threading.Semaphore(0) for name in actors}
        threads = [threading.Thread(target=self._act, args=actor) for actor in actors.items()]
        for thread in threads:
            thread.start()
        self._next()
        self._over.acquire()
        for thread in threads:
            thread.join()
        if self.error is not None:
            raise self.error

    def _act(self, name: str, actor: Callable[[], None]) -> None:
        self._alive[name].acquire()
        try:
            actor()
        except BaseException as error:
            self.error = error
        del self._alive[name]
        self._next()

    def _next(self) -> None:
        if not self._alive:
            self._over.release()
            return
        self._running = self._pick(list(self._alive))
        self._alive[self._running].release()

    def pause(self, *, waiting: bool = False) -> None:
        """Between two steps of the running actor: others may come first."""
        if not self._alive:
            return
        while True:
            others = [name for name in self._alive if name != self._running]
            ways: list[tuple[str, str]] = []
            if not (waiting and others):
                ways.append(("go on", ""))
            if self._left or waiting:
                ways += [("switch", name) for name in others]
            if self._left:
                ways += [("evict", key) for key in self._held]
            way, name = self._pick(ways)
            if way == "go on":
                return
            if way == "evict":
                self._left -= 1
                del self._held[name]
                continue
            self._left -= not waiting
            mine = self._alive[self._running]
            self._running = name
            self._alive[name].release()
            mine.acquire()
            return

    def _pick(self, ways: list[Any]) -> Any:
        return ways[self._choose(len(ways)) if len(ways) > 1 else 0]


class MemoryStore(Store):
    """What a memcached server does with a region's keys, one command at a time."""

    def __init__(self, choose: Choose, disturbances: int) -> None:
        self.held: dict[str, Any] = {}
        self.turns = Turns(choose, disturbances, self.held)

    def _get(self, *keys: str) -> list[Any]:
        self.turns.pause()
        return [self.held.get(key) for key in keys]

    def _add(self, key: str, value: Any) -> bool:
        self.turns.pause()
        return self.held.setdefault(key, value) is value

    def read(self, entry: Entry) -> Reading:
        record, *generations = self._get("record", *entry.scopes)
        return Reading(record, tuple(generations))

    def begin(self, entry: Entry) -> Reading:
        reading = self.read(entry)
        missing = [
            scope
            for scope, found in zip(entry.scopes, reading.generations, strict=True)
            if found is None
        ]
        for scope in missing:
            self._add(scope, os.urandom(8))
        return self.read(entry) if missing else reading

    def write(self, entry: Entry, value: Any, record: Record, ttl: float) -> Any:
        codec, payload = dump_value(value)
        self.turns.pause()
        self.held["record"] = record._replace(codec=codec, payload=payload)
        return value

    def invalidate(self, scopes: Iterable[str]) -> None:
        for scope in scopes:
            self.turns.pause()
            self.held.pop(scope, None)

    def acquire(self, entry: Entry, seconds: float) -> bytes:
        token = os.urandom(8)
        return token if self._add("lease", token) else b""

    def release(self, entry: Entry, token: bytes) -> None:
        if self._get("lease") == [token]:
            self.turns.pause()
            self.held.pop("lease", None)


class Run:
    """Two callers of one entry, and one who changes what it is loaded from."""

    def __init__(self, choose: Choose, policy: Policy, disturbances: int, *scopes: str) -> None:
        self.entry = Entry("tests.load", b"\0" * 20, scopes)
        self.store = MemoryStore(choose, disturbances)
        self.region = Region(RegionOptions("model", "none", lease=0.005), self.store)
        self.policy = policy
        self.truth = self.announced = 0

    def play(self, times: int) -> None:
        random.seed(0)  # the waits' jitter: the same choices are the same run

        def call() -> None:
            for _ in range(times):
                self.call()

        def change() -> None:
            for _ in range(times):
                self.store.turns.pause()
                self.truth += 1
                self.region.invalidate(frozenset(self.entry.scopes[-1:]))
                self.announced = self.truth

        self.store.turns.run({"first": call, "second": call, "writer": change})
        self.call()

    def call(self) -> None:
        """What a decorated function does; the value is as new as what was announced before."""
        announced = self.announced
        assert self._call() >= announced

    def _call(self) -> int:
        reading = self.region.look(self.entry)
        value: Any = self.region.fresh(self.entry, reading, self.policy)
        if value is not MISSING:
            self.region.stats.count("hits")
            return int(value)
        protocol = self.region.load(self.entry, reading, self.policy)
        answer: Any = None
        while True:
            try:
                step = protocol.send(answer)
            except StopIteration as stop:
                return int(stop.value)
            if step is Load:
                answer = self.truth
                self.store.turns.pause()
            elif isinstance(step, Wait):
                self.store.turns.pause(waiting=True)
                answer = None
            else:
                assert callable(step)
                answer = step()


POLICIES = pytest.mark.parametrize(
    "policy",
    [
        pytest.param(Policy(expire=math.inf, grace=0.0), id="fresh"),
        pytest.param(Policy(expire=0.0, grace=math.inf), id="within its grace"),
    ],
)


@POLICIES
def test_every_order_of_steps_with_two_disturbances(policy: Policy) -> None:
    runs = 0
    follow: list[int] = []
    while True:
        made: list[tuple[int, int]] = []

        def choose(ways: int) -> int:
            picked = follow[len(made)] if len(made) < len(follow) else 0  # noqa: B023
            made.append((picked, ways))  # noqa: B023
            return picked

        Run(choose, policy, 2, OWN).play(times=1)
        runs += 1
        while made and made[-1][0] + 1 == made[-1][1]:
            made.pop()
        if not made:
            break
        follow = [picked for picked, _ in made]
        follow[-1] += 1
    assert runs > 1000


@POLICIES
def test_random_orders_with_any_number_of_disturbances(policy: Policy) -> None:
    served = 0
    for seed in range(2000):
        chance = random.Random(seed)
        steady = chance.choice([0.5, 0.8, 0.9])

        def choose(ways: int) -> int:
            return 0 if chance.random() < steady else chance.randrange(ways)  # noqa: B023

        run = Run(choose, policy, 1000, OWN, TAG)
        run.play(times=3)
        served += run.region.stats["hits"] + run.region.stats["stale"]
    assert served > 100, "the runs share values"
