"""The work that is done once a minute with counts and samples.

No process keeps a thread for it. A process that writes samples in a new minute starts a thread,
which does the work and ends. If several processes start one, a lock lets one of them do it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from beaker_regions.runtime.atomic_write import read_file, write_file
from beaker_regions.telemetry import aggregate, sampling
from beaker_regions.telemetry.simulation import Simulation

logger = logging.getLogger("beaker_regions")

MINUTE = 60
SIMULATED_EVERY = 5 * MINUTE
"""Seconds between two simulations of the samples, unless the log gets large earlier."""
LARGE_LOG = 4 << 20
"""Bytes."""

_minutes: dict[Path, int] = {}


class Choice(NamedTuple):
    """The keys of a function that all processes sample from now on."""

    threshold: int
    hot: frozenset[bytes]


Adopt = Callable[["Path", dict[int, Choice]], None]
"""Takes the folder, and the choices by function id."""
Tidy = Callable[["Path"], None]
"""Takes the folder, and does the other regular work of this host."""


def when_due(folder: Path, adopt: Adopt, tidy: Tidy) -> None:
    """Start the work in a thread, if this process has not done so in this minute. ``adopt`` gets
    the keys to sample."""
    minute = int(time.time()) // MINUTE
    if _minutes.get(folder) != minute:
        _minutes[folder] = minute
        with contextlib.suppress(RuntimeError):  # the interpreter ends
            threading.Thread(
                target=_do, args=(folder, adopt, tidy), name="regions-metrics", daemon=True
            ).start()


def _do(folder: Path, adopt: Adopt, tidy: Tidy) -> None:
    try:
        with (
            contextlib.suppress(BlockingIOError),
            aggregate.locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB),
        ):
            aggregate.fold(folder)
            if _simulation_due(folder):
                simulate(folder)
        adopt(folder, choices(folder))
        tidy(folder)
    except OSError as error:
        if folder.is_dir():
            logger.warning("counts of the regions cannot be stored: %s", error)
    except Exception:
        # Such as an unforeseen kind of damage to a file. No caller waits for this thread's error.
        logger.exception("counts of the regions in %s cannot be added up", folder)


def _simulation_due(folder: Path) -> bool:
    try:
        log = (folder / "samples").stat()
    except FileNotFoundError:
        return False
    marked = folder / "choices"
    last = marked.stat().st_mtime if marked.exists() else 0.0
    return time.time() - last >= SIMULATED_EVERY or log.st_size >= LARGE_LOG


def simulate(folder: Path) -> None:
    """Run the simulations with the samples of the log, and empty it. The caller holds the lock.
    Raises OSError."""
    by_function: dict[int, list[sampling.Sample]] = {}
    for sample in sampling.take(folder):
        by_function.setdefault(sample.function, []).append(sample)
    chosen = {
        str(function): (threshold, [int.from_bytes(key) for key in hot])
        for function, (threshold, hot) in choices(folder).items()
    }
    for function, of_function in by_function.items():
        simulation = simulation_of(folder, function)
        simulation.run(of_function)
        path = str(_path(folder, function))
        write_file(str(folder), path, simulation.pack(), durable=False)
        chosen[str(function)] = simulation.threshold, list(simulation.hot)
    aggregate.replace_json(folder / "choices", chosen)


def choices(folder: Path) -> dict[int, Choice]:
    """Return the keys to sample, by function id. A damaged file gives no choice."""
    found: dict[int, Choice] = {}
    # A damaged choice does no harm: the next simulation makes a new one.
    with contextlib.suppress(AttributeError, OverflowError, TypeError, ValueError):
        for function, (threshold, hot) in aggregate.read_json(folder / "choices").items():
            keys = frozenset(int(key).to_bytes(sampling.KEY_SIZE) for key in hot)
            found[int(function)] = Choice(int(threshold), keys)
    return found


def simulation_of(folder: Path, function: int, *, with_keys: bool = True) -> Simulation:
    """Return the stored simulation of a function, by its id. Without its keys it has the results,
    and cannot go on."""
    try:
        return Simulation.unpack(read_file(_path(folder, function)), with_keys=with_keys)
    except (FileNotFoundError, ValueError):
        return Simulation()


def _path(folder: Path, function: int) -> Path:
    return folder / "replays" / f"{function:016x}"
