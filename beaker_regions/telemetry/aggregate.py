"""What all processes of a host have counted: those that live, and those that are gone.

In the folder ``metrics`` of a data_dir::

    PID-….counts    the numbers of a process (`beaker_regions.telemetry.shared_counters`)
    totals          the numbers of processes that are gone, added up
    lock            shared by who reads or appends, held by who folds files into others

A dead process's numbers are added to the totals, which replace the former ones at once and name
the files they contain: a file that could not be removed afterwards is not counted twice. Nothing
here is worth waiting for a disk; a power cut may cost the numbers, and nothing else.
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
"""Seconds to wait for a holder, who may be replaying an hour's samples."""
ABANDONED = 60 * 60
"""Seconds after which a file that was being made belongs to a process that was killed."""


@contextlib.contextmanager
def locked(folder: Path, how: int) -> Iterator[None]:
    """Hold the folder's lock; ``how`` as for `fcntl.flock`. Raises OSError, BlockingIOError
    where somebody else has it and ``how`` says not to wait, a TimeoutError where it was waited
    for long enough: its holder may have been stopped."""
    # A process that starts at the same time may not have made it yet. Where all that it lies in is
    # gone, it stays so.
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
    """As `read`, for who holds the lock."""
    totals, contained = _totals(folder)
    for path in _files(folder):
        if path.name not in contained:
            with contextlib.suppress(FileNotFoundError):
                _add(totals, read_file(path))
    return totals


def fold(folder: Path) -> None:
    """Add the numbers of processes that are gone to the totals, and remove their files. The
    caller holds the lock. Raises OSError."""
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
    """Write a file that is whole or not there."""
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
    """Return what a file holds; an empty dictionary where there is none, or a damaged one."""
    try:
        return json.loads(read_file(path))
    except (OSError, ValueError):
        return {}
