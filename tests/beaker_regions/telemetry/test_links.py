"""No symbolic link is followed in the folder of the telemetry."""

from __future__ import annotations

import contextlib
import fcntl
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions.telemetry import aggregate, event_log, maintenance, sampling
from beaker_regions.telemetry.sampling import Sample
from beaker_regions.telemetry.shared_counters import Name, SharedCounters

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROW = ["functions", "f", "hits", 7]
READERS: dict[str, tuple[Any, Callable[[Path], object]]] = {
    "totals": ({"contained": [], "totals": [ROW]}, lambda folder: dict(aggregate.read(folder))),
    "choices": ({"1": [2, [3]]}, maintenance.choices),
    "notes.load": (["load", 1.0, "functions", "f", 2.0, "t"], lambda f: event_log.read(f, "load")),
}


def linked(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    elsewhere = path.with_name("elsewhere")
    elsewhere.write_bytes(content)
    path.symlink_to(elsewhere)


@pytest.mark.parametrize("name", READERS)
def test_a_linked_file_is_not_read(tmp_path: Path, name: str) -> None:
    content, read = READERS[name]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    aggregate.replace_json(tmp_path / name, content)
    assert read(tmp_path), "read where it is no link"
    written = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    linked(tmp_path / name, written)
    with contextlib.suppress(OSError):
        assert not read(tmp_path)


def test_linked_samples_are_not_read(tmp_path: Path) -> None:
    linked(tmp_path / "samples", sampling.pack(Sample(1.0, 1, 2, 3, 4, 5, 6, 7)))
    assert sampling.take(tmp_path) == []


def test_linked_numbers_of_a_process_are_not_counted(tmp_path: Path) -> None:
    counters = SharedCounters(tmp_path)
    slots = counters.allocate([Name("functions", "f", "hits")])
    slots.numbers[slots.indexes[0]] = 7
    assert aggregate.read(tmp_path).total() == 7
    (file,) = aggregate._files(tmp_path)
    linked(tmp_path / f"1-other{file.suffix}", file.read_bytes())
    assert aggregate.read(tmp_path).total() == 7
    with aggregate.locked(tmp_path, fcntl.LOCK_EX):
        aggregate.fold(tmp_path)
    assert aggregate.read(tmp_path).total() == 7
