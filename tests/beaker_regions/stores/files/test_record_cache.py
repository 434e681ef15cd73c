"""What a process remembers of records never makes it serve what others have invalidated, nor fail
where they have replaced or removed it."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from beaker_regions.stores import opening
from beaker_regions.stores.files.record_cache import SETTLED
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.mounts import mount_coarse
from tests.beaker_regions.stores.files.test_store import content, files_of, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from beaker_regions import CacheManager
    from tests.beaker_regions.conftest import Calls, Manager


@pytest.fixture
def managers(files_manager: Manager) -> tuple[CacheManager, CacheManager]:
    """Two managers that share a folder and nothing else, as two processes do."""
    mine = files_manager()
    opening.opened.clear()
    return mine, files_manager()


def test_a_value_that_another_process_replaced_is_served(
    managers: tuple[CacheManager, CacheManager], calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> Iterator[bytes]:
        return content(calls())

    mine, theirs = managers
    my_load = mine.region("functions")(load)
    their_load = theirs.region("functions", expire=1e-6)(load)
    for _ in range(3):
        assert my_load().read_bytes() == b"".join(content(1))
    assert their_load().read_bytes() == b"".join(content(2))
    assert my_load().read_bytes() == my_load().read_bytes() == b"".join(content(2))
    assert calls.count == 2
    assert not lines_of(caplog)


def test_an_evicted_entry_is_a_miss_and_no_fault(
    files_manager: Manager, tmp_path: Path, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    @files_manager().region("functions")
    def load() -> Iterator[bytes]:
        return content(calls())

    for _ in range(3):
        assert load().read_bytes() == b"".join(content(1))
    for kind in ("entries", "content", "equal"):
        for path in files_of(tmp_path / "regions", kind):
            path.unlink()
    assert load().read_bytes() == load().read_bytes() == b"".join(content(2))
    assert calls.count == 2
    assert not lines_of(caplog)


def test_a_process_that_has_just_read_an_entry_sees_its_invalidation_by_another(
    managers: tuple[CacheManager, CacheManager], calls: Calls
) -> None:
    def load(number: int) -> int:
        return calls()

    mine, theirs = (each.region("functions", tags=["tag"])(load) for each in managers)
    seen = [mine(1), mine(1), mine(2), mine(2)]
    assert seen == [1, 1, 2, 2]
    theirs.invalidate(1)
    assert [mine(1), mine(1), mine(2), mine(2)] == [3, 3, 2, 2]
    managers[1].invalidate_tags("tag")
    assert [mine(1), mine(2), mine(1), mine(2)] == [4, 5, 4, 5]
    theirs.invalidate_all()
    assert [mine(1), mine(2), mine(1), mine(2)] == [6, 7, 6, 7]


@pytest.mark.parametrize("size", [10, 10_000])
def test_a_value_that_this_process_knows_is_served_only_while_its_bytes_are_there(
    managers: tuple[CacheManager, CacheManager], tmp_path: Path, calls: Calls, size: int
) -> None:
    def load(number: int) -> bytes:
        return b"%d" % calls() * size

    mine, theirs = managers
    my_load = mine.region("functions")(load)
    their_load = theirs.region("functions")(load)
    assert {my_load(1) for _ in range(4)} == {b"1" * size}
    (record,) = files_of(tmp_path / "regions", "entries")
    record.unlink()
    assert their_load(1) == b"2" * size
    assert {my_load(1) for _ in range(4)} == {b"2" * size}
    stored = bytearray(record.read_bytes())
    stored[-1] ^= 1
    record.write_bytes(stored)
    assert {my_load(1) for _ in range(4)} == {b"3" * size}
    record.unlink()
    assert {my_load(1) for _ in range(4)} == {b"4" * size}
    my_load.invalidate(1)
    assert {my_load(1) for _ in range(4)} == {b"5" * size}


def test_values_that_another_process_replaces_in_quick_succession_are_seen(
    managers: tuple[CacheManager, CacheManager], calls: Calls
) -> None:
    def load() -> bytes:
        return b"%08d" % calls()  # files of one size, some with one inode, within one tick

    my_load, their_load = (each.region("functions")(load) for each in managers)
    for _ in range(300):
        stored = their_load.refresh()
        assert my_load() == my_load() == stored
    for _ in range(2):
        time.sleep(2 * SETTLED)  # so that the status of the file identifies it
        assert {my_load() for _ in range(3)} == {stored}
        stored = their_load.refresh()
        assert {my_load() for _ in range(3)} == {stored}


def test_values_are_seen_where_the_clock_of_the_file_system_ticks_once_a_second(
    file_manager: Manager, tmp_path: Path
) -> None:
    no_mount = 77
    mine = file_manager().values("functions", "numbers")
    opening.opened.clear()
    theirs = file_manager().values("functions", "numbers")

    def use() -> None:
        try:
            mount_coarse(tmp_path / "regions")
        except OSError:
            os._exit(no_mount)
        while time.time() % 1 > 0.2:
            time.sleep(0.01)
        theirs.set("key", 1)
        time.sleep(2 * SETTLED)
        assert {mine.get("key") for _ in range(3)} == {1}
        # The second file gets the inode of the one that was read, within the same second.
        theirs.set("key", 2)
        theirs.set("key", 3)
        assert mine.get("key") == 3

    (status,) = statuses([fork(use)])
    if status == no_mount:
        pytest.skip("a loop device can be mounted by root alone")
    assert status == 0


def test_a_process_that_is_killed_while_it_invalidates_leaves_the_others_one_value(
    file_manager: Manager, calls: Calls
) -> None:
    mine = file_manager()
    opening.opened.clear()
    theirs = file_manager()

    def load() -> int:
        return calls()

    my_load, their_load = (each.region("functions")(load) for each in (mine, theirs))
    assert my_load() == my_load() == 1

    def die() -> None:
        write = os.pwrite

        def write_and_die(*args: int | bytes) -> None:
            write(*args)  # type: ignore[arg-type]
            os.kill(os.getpid(), signal.SIGKILL)

        os.pwrite = write_and_die  # type: ignore[assignment]
        my_load.invalidate()

    assert statuses([fork(die)]) == [-signal.SIGKILL]
    assert their_load() == 2
    assert [my_load(), their_load(), my_load(), their_load()] == [2] * 4
    my_load.invalidate()
    assert [their_load(), my_load(), their_load()] == [3] * 3
