"""What the hosts do, and what is done to them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from bench.report import Row
from bench.shared_folder import workers
from bench.shared_folder.volume import PING_SECONDS, Caches, Client, Volume
from bench.shared_folder.workers import EXPIRE, KEYS, SIZE, Board, Place, processes, start

PATIENCE = 30
"""Seconds until a process ends, or the folder is as before."""
LEASE = 2
"""Seconds."""
READERS = 4


class Site(NamedTuple):
    """Where it takes place."""

    volume: Volume
    clients: tuple[Client, Client]
    caches: Caches
    seconds: float

    def wait(self) -> None:
        time.sleep(self.seconds)


class Race(NamedTuple):
    """What is going on."""

    site: Site
    board: Board
    running: list[tuple[Any, Place]]
    """The processes."""


# -- faults -------------------------------------------------------------------------------------

Fault = Callable[[Race], None]


def nothing(race: Race) -> None:
    race.site.wait()


def loaders_killed(race: Race) -> None:
    """Readers of one host, which load, are killed at any moment; others take their places."""
    ends = time.monotonic() + 2 * race.site.seconds
    while time.monotonic() < ends:
        time.sleep(random.uniform(0.05, 0.3))
        at = random.randrange(0, READERS, 2)
        process, place = race.running[at]
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        race.running[at] = start(workers.read, place, race.board), place


def servers_hang(race: Race) -> None:
    race.site.wait()
    race.site.volume.pause()
    time.sleep(PING_SECONDS + 3)
    race.site.volume.resume()
    race.site.wait()


def one_cut_off(race: Race) -> None:
    """Of one host, all that goes to the file system's servers is lost; memcached answers."""
    race.site.wait()
    race.site.clients[0].host.cut(race.site.volume.storage)
    time.sleep(PING_SECONDS + 3)
    race.site.clients[0].host.heal()
    race.site.wait()


def servers_killed(race: Race) -> None:
    race.site.wait()
    race.site.volume.kill()
    race.site.wait()
    race.site.volume.restart()
    race.site.wait()


def client_killed(race: Race) -> None:
    """The file system's client dies on one host, whose folder is unmounted and mounted again."""
    race.site.wait()
    race.site.clients[0].kill()
    race.site.wait()
    race.site.clients[0].unmount()
    race.site.wait()
    race.site.clients[0].mount(race.site.caches)
    race.site.wait()


# -- situations ---------------------------------------------------------------------------------


def raced(
    site: Site, kind: str, fault: Fault = nothing, *, upkeep: bool = False, **options: Any
) -> Row:
    """Let two readers and a writer race on each host; return what they counted. Where entries
    expire, or have to go, no process writes."""
    board = Board(site.volume.address)
    tasks: list[Callable[..., None]] = [workers.read] * READERS
    tasks += [] if options else [workers.write] * 2
    tasks += [workers.look_after] * upkeep
    race = Race(site, board, [])
    for number, task in enumerate(tasks):
        chosen = ("lease", LEASE), *options.items()
        place = Place(site.clients[number % 2], number, kind, options=chosen)
        race.running.append((start(task, place, board), place))
    fault(race)
    board.stop.set()
    versions = sum(board.truth) + KEYS
    if "expire" in options:
        versions = round(KEYS * site.seconds / EXPIRE)
    return _row(site, kind, board, [process for process, _ in race.running], versions)


def asked_at_once(site: Site, kind: str) -> Row:
    """Six processes, three a host, want one key after the other."""
    board = Board(site.volume.address)
    rounds, number = max(2, int(site.seconds)) * KEYS, 6
    parties = processes.Barrier(number)
    running = [
        start(
            workers.ask_at_once,
            Place(site.clients[each % 2], each, kind),
            board,
            parties,
            rounds,
        )
        for each in range(number)
    ]
    return _row(site, kind, board, running, rounds)


def _row(site: Site, kind: str, board: Board, running: list[Any], versions: int) -> Row:
    """Wait for processes; return what they counted."""
    deadline = time.monotonic() + PATIENCE
    stuck = 0
    for process in running:
        process.join(max(0.1, deadline - time.monotonic()))
        stuck += process.exitcode != 0
        process.kill()
    worst = board.worst()
    return {
        **{what: board.total(what) for what in ("reads", "writes", "stale")},
        "loads a version": round(sum(board.loads) / versions, 2),
        "errors": board.total("errors") + stuck,
        "failures": board.total("failures"),
        "worst ms": round(worst * 1000),
        "as before": _as_before(site, kind, board),
    }


def _as_before(site: Site, kind: str, board: Board) -> str:
    """Return after how many seconds new processes on both hosts are served what is true, and what
    one has loaded the other does not load."""
    began = time.monotonic()
    while time.monotonic() < began + PATIENCE:
        answers: Any = processes.Queue()
        for number, client in enumerate(site.clients):
            probe = start(_probe, Place(client, number, kind), board, answers)
            wrong = answers.get(timeout=PATIENCE)
            probe.join()
            if wrong:
                break
        else:
            return f"{time.monotonic() - began:.1f} s"
        time.sleep(0.1)
    return "never"


def _probe(place: Place, board: Board, answers: Any) -> None:
    """Tell whether a value was wrong, or loaded though it was stored, or could not be had."""
    loads = sum(board.loads)
    with contextlib.suppress(Exception):  # a process that starts wants its folder
        cached = workers.Cached(place, board)
        right = [cached.read(key)[0] for key in range(KEYS)] == board.truth[:]
        answers.put(not right or cached.failures() or (place.number and sum(board.loads) != loads))
        return
    answers.put(True)


class Situation(NamedTuple):
    name: str
    happens: Callable[[Site], Row]
    once: bool = False
    """Whether it is the same however much the clients remember."""
    quick: bool = True


SITUATIONS = (
    Situation("small values", lambda site: raced(site, "record")),
    Situation("contents of 1 MB", lambda site: raced(site, "file")),
    Situation("streams of 1 MB", lambda site: raced(site, "stream")),
    Situation("small, six ask at once", lambda site: asked_at_once(site, "record")),
    Situation("streams, six ask at once", lambda site: asked_at_once(site, "stream")),
    Situation("expiry", lambda site: raced(site, "record", expire=EXPIRE), quick=False),
    Situation(
        "eviction",
        lambda site: raced(site, "stream", size_limit=KEYS // 2 * SIZE),
        quick=False,
    ),
    Situation("sweep and verify", lambda site: raced(site, "stream", upkeep=True)),
    Situation("loaders killed", lambda site: raced(site, "stream", loaders_killed), once=True),
    Situation("servers hang", lambda site: raced(site, "file", servers_hang), once=True),
    Situation(
        "one host cut off", lambda site: raced(site, "file", one_cut_off), once=True, quick=False
    ),
    Situation("servers killed", lambda site: raced(site, "file", servers_killed), once=True),
    Situation(
        "client killed", lambda site: raced(site, "file", client_killed), once=True, quick=False
    ),
)
