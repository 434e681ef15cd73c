"""What is done once a minute with what was counted and sampled, by whoever comes first.

No process has a thread for it all the time: who writes samples and finds a new minute begun,
starts one that does it and ends. Of several processes that find so, one does it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from beaker_regions.runtime.atomic_write import read_file
from beaker_regions.telemetry import aggregate, sampling
from beaker_regions.telemetry.simulation import Replay

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("beaker_regions")

MINUTE = 60
REPLAYED_EVERY = 5 * MINUTE
"""Seconds between two replays of the samples, unless the log is large before."""
LARGE_LOG = 4 << 20
"""Bytes."""

_minutes: dict[Path, int] = {}


class Choice(NamedTuple):
    """Which keys of a function all processes are to sample."""

    threshold: int
    hot: frozenset[bytes]


Adopt = Callable[["Path", dict[int, Choice]], None]
"""Takes the folder, and the choices by function id."""


Tidy = Callable[["Path"], None]
"""Takes the folder, and does what else is due on this host; it lets nobody wait."""


def when_due(folder: Path, adopt: Adopt, tidy: Tidy) -> None:
    """Do it, in a thread, if this process has not done so in this minute. ``adopt`` is
    told which keys to sample."""
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
            if _replay_due(folder):
                replay(folder)
        adopt(folder, choices(folder))
        tidy(folder)
    except OSError as error:
        if folder.is_dir():
            logger.warning("what the regions count cannot be kept: %s", error)
    except Exception:
        # Of a file that is damaged in a way of its own; a thread has nobody to tell it to.
        logger.exception("what the regions count, in %s, cannot be added up", folder)


def _replay_due(folder: Path) -> bool:
    try:
        log = (folder / "samples").stat()
    except FileNotFoundError:
        return False
    marked = folder / "choices"
    last = marked.stat().st_mtime if marked.exists() else 0.0
    return time.time() - last >= REPLAYED_EVERY or log.st_size >= LARGE_LOG


def replay(folder: Path) -> None:
    """Replay what the log of samples holds. The caller holds the lock. Raises OSError."""
    by_function: dict[int, list[sampling.Sample]] = {}
    for sample in sampling.take(folder):
        by_function.setdefault(sample.function, []).append(sample)
    chosen = {
        str(function): (threshold, [int.from_bytes(key) for key in hot])
        for function, (threshold, hot) in choices(folder).items()
    }
    for function, of_function in by_function.items():
        state = replayed(folder, function)
        state.run(of_function)
        path = _path(folder, function)
        path.parent.mkdir(exist_ok=True)
        aggregate.replace(path, state.pack())
        chosen[str(function)] = state.threshold, list(state.hot)
    aggregate.replace_json(folder / "choices", chosen)


def choices(folder: Path) -> dict[int, Choice]:
    """Return which keys are to be sampled, by function id; a file that is damaged says nothing."""
    found: dict[int, Choice] = {}
    # Whatever else stands there: a choice is made anew by the next replay.
    with contextlib.suppress(AttributeError, OverflowError, TypeError, ValueError):
        for function, (threshold, hot) in aggregate.read_json(folder / "choices").items():
            keys = frozenset(int(key).to_bytes(sampling.KEY_SIZE) for key in hot)
            found[int(function)] = Choice(int(threshold), keys)
    return found


def replayed(folder: Path, function: int) -> Replay:
    """Return the replay of a function, by its id, as far as it has got."""
    try:
        return Replay.unpack(read_file(_path(folder, function)))
    except (FileNotFoundError, ValueError):
        return Replay()


def _path(folder: Path, function: int) -> Path:
    return folder / "replays" / f"{function:016x}"
