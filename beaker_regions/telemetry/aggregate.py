"""The sum of the counts of all processes of a host, ended ones included.

In the folder ``metrics`` of a data_dir::

    PID-….counts    the counts of one process (`beaker_regions.telemetry.shared_counters`)
    totals          the added counts of ended processes
    lock            shared by readers and appenders; exclusive while files are folded into totals

The counts of an ended process are added to the totals. The new totals replace the old ones at once
and name the files that they contain, so a file that could not be removed is not counted twice. No
write waits for the disk: a power cut may lose the counts, and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from beaker_regions.runtime import forking
from beaker_regions.runtime.atomic_write import read_file, unlinked
from beaker_regions.runtime.flock import take
from beaker_regions.telemetry import shared_counters
from beaker_regions.telemetry.shared_counters import Name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Totals = Counter[Name]
LONGEST = 10.0
"""Seconds to wait for the lock. Its holder may be simulating an hour of samples."""
ABANDONED = 60 * 60
"""Seconds after which an unfinished file is taken to be a killed process's."""


@contextlib.contextmanager
def locked(folder: Path, how: int) -> Iterator[None]:
    """Hold the folder's lock; ``how`` is as for `fcntl.flock`. Raises OSError: BlockingIOError if
    another process has the lock and ``how`` says not to wait, TimeoutError after `LONGEST`
    seconds, since the holder may have been stopped."""
    # A process that starts at the same time may not have made the folder yet. If its parent is
    # gone, the folder is not made again.
    folder.mkdir(exist_ok=True)
    descriptor = os.open(
        folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o660
    )
    with forking.unshared(descriptor):
        if how & fcntl.LOCK_NB:
            fcntl.flock(descriptor, how)
        else:
            take(descriptor, how, time.monotonic() + LONGEST)
        yield


def read(folder: Path) -> Totals:
    """Add up what all processes have counted. Raises OSError."""
    if not folder.is_dir():
        return Totals()
    with locked(folder, fcntl.LOCK_SH):
        return added_up(folder)


def added_up(folder: Path) -> Totals:
    """Return the same as `read`. The caller holds the lock."""
    totals, contained = _totals(folder)
    for path in _files(folder):
        if path.name not in contained:
            with contextlib.suppress(FileNotFoundError):
                _add(totals, read_file(path))
    return totals


def fold(folder: Path) -> None:
    """Add the counts of ended processes to the totals, and remove their files. The caller holds
    the lock. Raises OSError."""
    totals, contained = _totals(folder)
    dead = []
    for path in _files(folder):
        with (
            contextlib.suppress(BlockingIOError, FileNotFoundError),
            open(path, "rb", opener=unlinked) as file,
        ):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            dead.append(path)
            if path.name not in contained:
                _add(totals, file.read())
    if dead:
        replace_json(
            folder / "totals",
            {
                "contained": [path.name for path in dead],
                "totals": [[*name, number] for name, number in totals.items()],
            },
        )
        for path in dead:
            path.unlink(missing_ok=True)
    for path in folder.glob(".*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def _files(folder: Path) -> list[Path]:
    found = folder.glob(f"*{shared_counters.SUFFIX}")
    return [path for path in found if not path.is_symlink()]


def _add(totals: Totals, content: bytes) -> None:
    for name, number in shared_counters.read(content):
        totals[name] += number


def _totals(folder: Path) -> tuple[Totals, set[str]]:
    """Return the totals, and the names of the files they contain."""
    totals = Totals()
    found = read_json(folder / "totals")
    try:
        for *name, number in found["totals"]:
            totals[Name(*map(str, name))] += int(number)
        return totals, set(found["contained"])
    except (KeyError, OverflowError, TypeError, ValueError):
        return Totals(), set()


def replace_json(path: Path, value: Any) -> None:
    """Write a file. Readers see the old content or the new one, never a part."""
    replace(path, json.dumps(value, separators=(",", ":")).encode())


def replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Return a file's value; an empty dictionary if the file is missing or damaged."""
    try:
        return json.loads(read_file(path))
    except (OSError, ValueError):
        return {}
