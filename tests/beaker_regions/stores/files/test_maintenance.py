"""Looking after the files of a region."""

from __future__ import annotations

import os
import threading
import time
from itertools import count
from typing import TYPE_CHECKING

import pytest

from beaker_regions.runtime.flock import locked
from beaker_regions.stores.files import layout, maintenance, sweeping
from beaker_regions.stores.files.generations import places
from beaker_regions.stores.files.store import FileStore
from beaker_regions.telemetry import maintenance as observing
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import Calls, Later, Manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from beaker_regions import CachedFile, CacheManager
    from beaker_regions.api.function import CachedFunction

CONTENT = os.urandom(100_000)
BLOCK = 4096
"""Bytes in which a disk gives room to files."""


@pytest.fixture
def cache(files_manager: Manager) -> CacheManager:
    return files_manager()


@pytest.fixture
def store(cache: CacheManager) -> FileStore:
    found = cache["functions"].store
    assert isinstance(found, FileStore)
    return found


@pytest.fixture
def load(cache: CacheManager, calls: Calls) -> CachedFunction[[int], CachedFile]:
    @cache.region("functions")
    def load(number: int) -> Iterator[bytes]:
        calls()
        yield CONTENT + bytes([number // 2])

    return load


def files(store: FileStore, folder: str = "") -> set[Path]:
    found = {path for path in (store.folder / folder).rglob("*") if path.is_file()}
    own = ("generations", "generations.mark", "leases", "identity", "usage", "swept")
    return {path for path in found if path.name not in own}


def age(path: Path, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let time pass for what upkeep sees: when a name was made cannot be set."""
    assert path.exists()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + seconds)


def test_usage(store: FileStore, load: CachedFunction[[int], CachedFile]) -> None:
    assert maintenance.usage(store) == (0, 0, None)
    before = time.time()
    for number in range(4):
        load(number)
    entries, size, oldest = maintenance.usage(store)
    assert entries == 4
    assert size == 2 * 25 * BLOCK + 4 * BLOCK, "equal content counts once"
    assert oldest is not None
    assert before <= oldest <= time.time()


def test_a_record_that_got_the_inode_of_the_one_that_was_found_is_not_removed(
    store: FileStore, cache: CacheManager, calls: Calls
) -> None:
    load = cache.region("functions", "numbers")(calls)
    load()
    (found,) = layout.stored(store)
    inode = os.stat(found.path).st_ino
    for _ in range(100):
        load.refresh()
        if os.stat(found.path).st_ino == inode:
            break
    else:
        pytest.skip("this file system uses no inode again at once")
    assert layout.remove(store, found) == 0
    assert load() == calls.count


def test_verify_finds_nothing_where_nothing_is_wrong(
    store: FileStore, load: CachedFunction[[int], CachedFile], calls: Calls
) -> None:
    for number in range(4):
        load(number)
    assert list(maintenance.verify(store)) == []
    load(0)
    assert calls.count == 4


def spoil_quietly(path: Path) -> None:
    """Alter a file so that only its digest tells."""
    found = path.stat()
    with open(path, "r+b") as file:
        file.write(b"altered")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_verify_removes_files_that_differ(
    store: FileStore, load: CachedFunction[[int], CachedFile], calls: Calls
) -> None:
    digests = {number: load(number).digest for number in (0, 2, 4)}
    spoil_quietly(load(0).path)
    load(2).path.unlink()
    changed, missing = sorted(
        (reason for _, reason in maintenance.verify(store)), key=lambda reason: "No such" in reason
    )
    assert "No such file" in missing
    assert "its digest differs" in changed
    assert list(maintenance.verify(store)) == []
    assert {number: load(number).digest for number in (0, 2, 4)} == digests
    assert load(0).read_bytes() == CONTENT + b"\0"
    assert calls.count == 5


def test_verify_takes_out_damaged_records(
    store: FileStore, load: CachedFunction[[int], CachedFile]
) -> None:
    load(0)
    (record,) = files(store, "entries")
    record.write_bytes(record.read_bytes()[:-1])
    ((_, reason),) = maintenance.verify(store)
    assert "record is damaged" in reason
    assert not files(store, "entries")


def test_verify_finds_files_that_were_swapped(
    store: FileStore, load: CachedFunction[[int], CachedFile]
) -> None:
    load(0)
    load(2)
    first, second = files(store, "equal")
    swapped = second.with_suffix(".swapped")
    first.rename(swapped)
    second.rename(first)
    swapped.rename(second)
    assert {path for path, _ in maintenance.verify(store)} == {str(first), str(second)}
    assert list(maintenance.verify(store)) == []
    assert load(4).read_bytes() == CONTENT + b"\2"


@pytest.mark.usefixtures("nothing_in_background")
def test_sweep_removes_expired_entries_and_keeps_the_rest(
    cache: CacheManager, store: FileStore, calls: Calls, later: Later
) -> None:

    @cache.region("functions", expire=60)
    def short(number: int) -> bytes:
        return CONTENT

    @cache.region("functions", expire=3600)
    def long(number: int) -> bytes:
        calls()
        return CONTENT

    for number in range(3):
        short(number)
        long(number)
    later(90)
    assert maintenance.sweep(store, grace=60) == (0, 0), "it may be served within its grace"
    assert maintenance.sweep(store) == (3, 0)
    assert len(files(store, "entries")) == 3
    assert long(0) == CONTENT
    assert calls.count == 3


@pytest.mark.usefixtures("nothing_in_background")
@pytest.mark.parametrize("way", ["entry", "function", "tag", "region"])
def test_sweep_removes_invalidated_entries(
    cache: CacheManager, store: FileStore, calls: Calls, way: str
) -> None:
    @cache.region("functions", tags=["one:{number}"])
    def load(number: int) -> bytes:
        calls()
        return CONTENT

    load(1)
    load(2)
    match way:
        case "entry":
            load.invalidate(1)
        case "function":
            load.invalidate_all()
        case "tag":
            cache.invalidate_tags("one:1")
        case "region":
            cache.invalidate_region("functions")
    gone = 1 if way in ("entry", "tag") else 2
    assert maintenance.sweep(store) == (gone, 0)
    assert len(files(store, "entries")) == 2 - gone
    assert load(2) == CONTENT
    assert calls.count == 1 + gone


@pytest.mark.parametrize("moment", ["before", "meanwhile", "twice"])
def test_a_record_that_is_stored_while_the_former_one_is_removed_stays(
    store: FileStore,
    load: CachedFunction[[int], CachedFile],
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    load(0)
    load.invalidate(0)
    (former,) = layout.stored(store)
    assert former.invalidated
    if moment == "before":
        load(0)
    real = os.rename

    def rename(source: str, target: str) -> None:
        load(0)
        real(source, target)
        if moment == "twice":
            load(0)

    monkeypatch.setattr(os, "rename", rename)
    assert layout.remove(store, former) == 0
    monkeypatch.undo()
    (kept,) = layout.stored(store)
    assert not kept.invalidated
    assert not files(store, "incoming")
    loads = calls.count
    assert load(0).read_bytes() == CONTENT + b"\0"
    assert calls.count == loads


@pytest.mark.usefixtures("nothing_in_background")
def test_sweep_removes_leftovers_of_killed_processes(
    store: FileStore,
    load: CachedFunction[[int], CachedFile],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = load(0)
    left = [
        store.folder / "incoming" / "half",
        store.folder / "content" / "ab" / "cdef-1234",
        store.folder / "equal" / "ab" / "cdef",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
    assert maintenance.sweep(store) == (0, 0), "they may be about to be used"
    age(left[0], 2 * maintenance.LEFT_ALONE, monkeypatch)
    assert maintenance.sweep(store) == (0, 3)
    assert not any(path.exists() for path in left)
    assert load(0).path == kept.path


def test_clear(store: FileStore, load: CachedFunction[[int], CachedFile], calls: Calls) -> None:
    for number in range(4):
        load(number)
    assert maintenance.clear(store) == 4
    assert files(store) == set()
    load(0)
    assert calls.count == 5


def tidied(cache: CacheManager) -> None:
    """Let a minute pass, and what is done in each of them be over."""
    observing._minutes.clear()
    cache["functions"].stats.write_samples(b"")
    join_upkeep()


def join_upkeep() -> None:
    for thread in threading.enumerate():
        if thread.name == "regions-metrics":
            thread.join()


def test_expired_entries_are_removed_without_a_command(
    files_manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = files_manager(expire=60, size_limit=10**9)
    store = cache["functions"].store
    assert isinstance(store, FileStore)

    @cache.region("functions")
    def load(number: int) -> bytes:
        return CONTENT + bytes([number])

    @cache.region("functions", expire=3600)
    def lasting(number: int) -> int:
        return number

    @cache.region("functions", grace=600)
    def useful(number: int) -> int:
        return number

    for number in range(5):
        load(number)
        assert useful(number) == lasting(number) == number
    monkeypatch.setattr(sweeping, "EVERY", 0)
    age(store.folder / "entries", 120, monkeypatch)
    before = maintenance.usage(store)
    for _ in layout.shards(store):
        tidied(cache)
    assert maintenance.usage(store) == before, "their grace may be over, or not"
    age(store.folder / "entries", 700, monkeypatch)
    for _ in layout.shards(store):
        tidied(cache)
    assert maintenance.usage(store).entries == 5
    assert not files(store, "content")
    assert store.size_limit is not None
    assert store.size_limit.in_use() == layout.bytes_in_use(store)


def test_one_process_at_a_time_removes_expired_entries(
    file_manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = file_manager(expire=0.01)
    store = cache["functions"].store
    assert isinstance(store, FileStore)

    @cache.region("functions")
    def load(number: int) -> int:
        return number

    for number in range(40):
        load(number)
    time.sleep(0.02)
    join_upkeep()  # It may have removed some already.
    stored = maintenance.usage(store).entries
    (store.folder / "swept").unlink(missing_ok=True)
    first, *others = sorted(layout.shards(store))
    gone = len(layout.records(first))
    children = [fork(lambda: sweeping.sweep_next(store, lambda: 0.0)) for _ in range(4)]
    assert statuses(children) == [0] * 4
    assert maintenance.usage(store).entries == stored - gone
    monkeypatch.setattr(sweeping, "EVERY", 0)
    with locked(str(store.folder / "swept")):
        assert statuses([fork(lambda: sweeping.sweep_next(store, lambda: 0.0))]) == [0]
    assert maintenance.usage(store).entries == stored - gone
    for _ in others:
        sweeping.sweep_next(store, lambda: 0.0)
    assert maintenance.usage(store).entries == 0


def test_a_discarded_call_frees_its_room_and_reaches_no_other(
    cache: CacheManager, store: FileStore
) -> None:
    @cache.region("functions")
    def load(number: int) -> Iterator[bytes]:
        yield CONTENT + b"%d" % number

    seen: dict[tuple[int, ...], int] = {}
    for second in count():
        first = seen.setdefault(places(load.entry(second).own_scope), second)
        if first != second:
            break  # the two have one place in a table of generations
    for number in (first, second):
        load(number).close()
    before = layout.bytes_in_use(store)
    load.discard(first)
    assert load.peek(first) is None
    assert before - layout.bytes_in_use(store) > len(CONTENT)
    kept = load.peek(second)
    assert kept is not None
    kept.close()
    load.discard(first)
