"""What a memcached or a Redis that is killed, hung (SIGSTOP) or restarted costs the callers.

Run it with ``python -m bench.outage [--full]``.

One process calls at a steady pace; all keys are cached when the server goes. A third on, every
value changes and is invalidated, while the server is away. After two thirds the hung server goes
on and the restarted one is back, empty. A wrong value is one from before the change. ``elsewhere``
is another process, which knows nothing of the outage and asks as soon as the server is back.
"""

from __future__ import annotations

import contextlib
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.contenders import CONTENDERS, ON_SERVERS, OURS, Contender, Place, processes
from bench.report import Row, arguments, report
from tests.servers import Server

KEYS = 10
PACE = 0.01
"""Seconds between two calls."""
TUNED = 0.05
"""Seconds; the time-out of ours, for peers that let it be set."""

FAULTS: dict[str, tuple[Callable[[Server], None], Callable[[Server], None]]] = {
    "killed": (Server.kill, lambda _: None),
    "hung": (Server.pause, Server.resume),
    "restarted": (Server.kill, Server.start),
}
"""What happens to the server, and what ends it."""

OUTCOME = ("calls", "raised", "wrong", "elsewhere", "lost", "worst", "since")


class Caller:
    """Counts what becomes of calls. ``outcome`` is shared, so that a hang can be seen."""

    def __init__(self, outcome: Any) -> None:
        self._outcome = outcome

    def add(self, what: str, amount: float) -> None:
        self._outcome[OUTCOME.index(what)] += amount

    def call(self, function: Callable[[int], Any], key: int) -> Any:
        """Return the value, or None when the call raised."""
        started = time.monotonic()
        self._outcome[OUTCOME.index("since")] = started
        try:
            return function(key)
        except Exception:
            self.add("raised", 1)
            return None
        finally:
            seconds = time.monotonic() - started
            worst = OUTCOME.index("worst")
            self._outcome[worst] = max(self._outcome[worst], seconds)
            self._outcome[OUTCOME.index("since")] = 0
            self.add("lost", seconds)


def contender(name: str, place: Place, truth: Any) -> Contender:
    logging.disable()  # of an outage that is meant
    timeout = TUNED if name.endswith(", tuned") else None
    return CONTENDERS[name.removesuffix(", tuned")](place, lambda key: truth[key], timeout)


def suffer(name: str, fault: str, calls: int, outcome: Any) -> None:
    """Go through one outage, in a process that has its own server."""
    caller, truth = Caller(outcome), processes.Array("q", [1] * KEYS)
    begin, end = FAULTS[fault]
    server = CONTENDERS[name.removesuffix(", tuned")].server()
    server.start()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Place(server.address, Path(folder))
        cached = contender(name, place, truth)
        for key in range(KEYS):
            cached.call(key)
        mine, its = processes.Pipe()
        witness = processes.Process(target=watch, args=(name, place, truth, its), daemon=True)
        witness.start()
        mine.recv()
        begin(server)
        for number in range(calls):
            if number == calls // 3:
                for key in range(KEYS):
                    truth[key] += 1
                    caller.call(cached.invalidate, key)
            if number == calls * 2 // 3 and fault != "killed":
                end(server)
                mine.send("back")
                caller.add("elsewhere", mine.recv())
            key = number % KEYS
            value = caller.call(cached.call, key)
            caller.add("wrong", value is not None and value != truth[key])
            caller.add("calls", 1)
            time.sleep(PACE)
    server.kill()


def watch(name: str, place: Place, truth: Any, pipe: Any) -> None:
    """Be the other process: connect, wait until the server is back, count wrong values."""
    cached = contender(name, place, truth)
    for key in range(KEYS):
        cached.call(key)
    pipe.send("ready")
    try:
        pipe.recv()
    except EOFError:
        return
    wrong = 0
    for key in range(KEYS):
        # What it raises is its own outage, and no wrong value.
        with contextlib.suppress(Exception):
            wrong += cached.call(key) != truth[key]
    pipe.send(wrong)


def outages(name: str, calls: int, limit: float) -> dict[str, dict[str, float]]:
    """Go through all faults, at the same time; what hangs is ended after ``limit`` seconds."""
    outcomes = {fault: processes.Array("d", len(OUTCOME)) for fault in FAULTS}
    running = [
        processes.Process(target=suffer, args=(name, fault, calls, outcome))
        for fault, outcome in outcomes.items()
    ]
    for process in running:
        process.start()
    deadline = time.monotonic() + limit
    for process in running:
        process.join(max(0, deadline - time.monotonic()))
    now = time.monotonic()
    results = {}
    for process, (fault, outcome) in zip(running, outcomes.items(), strict=True):
        result = dict(zip(OUTCOME, outcome[:], strict=True))
        if process.is_alive():
            process.kill()
            process.join()
            hanging = now - result["since"] if result["since"] else 0
            result["lost"] += hanging
            result["worst"] = max(result["worst"], hanging)
        elif process.exitcode:
            raise RuntimeError(f"{name}, {fault}: ended with status {process.exitcode}")
        results[fault] = result
    return results


def main() -> None:
    given = arguments(__doc__, full="two rounds, and peers with a short time-out, too")
    rounds, calls, limit = (1, 150, 15.0) if given.quick else (2 if given.full else 1, 300, 12.0)
    names = [name for name in ON_SERVERS if name.startswith(OURS) or not given.quick]
    if given.full:
        names += [f"{name}, tuned" for name in ON_SERVERS if name[0] in "dFD"]
    turns: dict[str, list[dict[str, dict[str, float]]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, results in turns.items():
            results.append(outages(name, calls, limit))
    rows: list[Row] = []
    for fault in FAULTS:
        for name in names:
            found = [result[fault] for result in turns[name]]
            lost = [result["lost"] for result in found]
            rows.append(
                {
                    "fault": fault,
                    "contender": name,
                    "unfinished": calls * rounds - int(sum(each["calls"] for each in found)),
                    **{
                        what: int(sum(each[what] for each in found))
                        for what in ("raised", "wrong", "elsewhere")
                    },
                    "s lost": round(statistics.median(lost), 3),
                    "s, range": [round(min(lost), 3), round(max(lost), 3)],
                    "s, worst call": round(max(each["worst"] for each in found), 3),
                }
            )
    settings = {
        "rounds": rounds,
        "calls a round": calls,
        "pace s": PACE,
        "keys": KEYS,
        "tuned time-out s": TUNED,
        "ended after s": limit,
    }
    report("outage", given, settings, rows)


if __name__ == "__main__":
    main()
