"""Runs of several actors in every order of their steps, or in random ones."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

Choose = Callable[[int], int]
"""Picks one of so many ways to go on."""


class Steps(Protocol):
    """What comes between two steps of whoever is running."""

    def pause(self, *, waiting: bool = False) -> None:
        """Let others come first; ``waiting``: who is running cannot go on without them."""


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


class Interruptions:
    """Does other things between two steps, each from its beginning to its end; between two steps of
    these as well."""

    def __init__(self, chance: random.Random, others: Sequence[Callable[[], object]]) -> None:
        self._chance = chance
        self._others = others
        self._rate = chance.choice([0.1, 0.3, 0.7, 1.0])
        self._depth = 0

    def pause(self, *, waiting: bool = False) -> None:
        if self._depth == 2 or self._chance.random() >= self._rate:
            return
        self._depth += 1
        for _ in range(self._chance.choice([1, 2, 4, 8])):
            self._chance.choice(self._others)()
        self._depth -= 1


def every_order(play: Callable[[Choose], None]) -> int:
    """Play with every choice there is, depth first; return how many runs that were."""
    runs = 0
    follow: list[int] = []
    while True:
        made: list[tuple[int, int]] = []

        def choose(ways: int) -> int:
            picked = follow[len(made)] if len(made) < len(follow) else 0  # noqa: B023
            made.append((picked, ways))  # noqa: B023
            return picked

        play(choose)
        runs += 1
        while made and made[-1][0] + 1 == made[-1][1]:
            made.pop()
        if not made:
            return runs
        follow = [picked for picked, _ in made]
        follow[-1] += 1


def random_order(seed: int) -> Choose:
    """Return choices that go on as they are more often than not."""
    chance = random.Random(seed)
    steady = chance.choice([0.5, 0.8, 0.9])
    return lambda ways: 0 if chance.random() < steady else chance.randrange(ways)
