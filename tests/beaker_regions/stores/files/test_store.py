"""Entries as files: damage, full disks, limits and kills cost a load and nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import multiprocessing
import os
import random
import resource
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions.stores.files import record_cache
from beaker_regions.stores.files.generations import GenerationTable
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import Calls, Manager, make_manager

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beaker_regions import CacheManager

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])


@pytest.fixture
def cache(file_manager: Manager) -> CacheManager:
    return file_manager()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "regions"


def files_of(folder: Path, kind: str) -> list[Path]:
    found = [path for path in folder.glob(f"*/{kind}*/**/*") if path.is_file()]
    return found + [path for path in folder.glob(f"*/{kind}") if path.is_file()]


def content(number: int) -> Iterator[bytes]:
    for part in range(3):
        yield b"%d:%d;" % (number, part) * 5000


@pytest.mark.parametrize("size", [0, 1, 50], ids="cut to {} bytes".format)
@pytest.mark.parametrize("kind", ["entries", "content", "generations"])
def test_a_file_that_was_cut_short_is_a_miss_and_is_loaded_again(
    cache: CacheManager,
    folder: Path,
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    size: int,
) -> None:
    # At once: what was read a moment ago is whole.
    monkeypatch.setattr(record_cache, "CHECK_AGAIN", 0)

    @cache.region("functions")
    def load() -> Iterator[bytes]:
        return content(calls())

    wanted = b"".join(content(1))
    assert load().read_bytes() == load().read_bytes() == wanted
    (damaged,) = files_of(folder, kind)
    os.truncate(damaged, size)
    assert load().read_bytes() == load().read_bytes() == b"".join(content(2))
    assert calls.count == 2


def test_a_table_of_generations_that_was_cut_short_is_made_again_once(tmp_path: Path) -> None:
    path = tmp_path / "generations"
    tables = [GenerationTable(path) for _ in range(4)]  # as four processes have
    places = (7,)
    for _ in range(30):
        tables[0].read(places)
        os.truncate(path, 1)
        together = threading.Barrier(4)

        def read(table: GenerationTable, together: threading.Barrier = together) -> Any:
            together.wait()
            return table.read(places)

        with ThreadPoolExecutor(4) as threads:
            found = {*threads.map(read, tables)}
        assert found == {table.read(places) for table in tables}, "a value is stored under it"


@pytest.mark.parametrize("kind", ["entries", "content", "generations", ""])
def test_a_removed_file_is_a_miss_and_is_loaded_again(
    cache: CacheManager, folder: Path, calls: Calls, kind: str
) -> None:
    @cache.region("functions")
    def load() -> Iterator[bytes]:
        return content(calls())

    held = load()
    if kind:
        for path in files_of(folder, kind):
            path.unlink()
    else:
        shutil.rmtree(folder / "functions")
    assert load().read_bytes() == load().read_bytes() == b"".join(content(2))
    assert held.read_bytes() == b"".join(content(1)), "what is held stays readable"


def test_a_lost_table_of_generations_brings_nothing_back(
    cache: CacheManager, folder: Path, calls: Calls
) -> None:
    @cache.region("functions")
    def load() -> int:
        return calls()

    assert load() == 1
    (table,) = files_of(folder, "generations")
    former = table.read_bytes()
    load.invalidate()
    for lost in ("removed", "cut short", "put back"):
        if lost == "cut short":
            os.truncate(table, 8)
        else:
            table.unlink()
        if lost == "put back":
            table.write_bytes(former)
        assert load.peek() is None, lost
    assert load() == 2


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged of the region's failures."""
    lines = [record.getMessage() for record in caplog.records]
    return [line for line in lines if line.startswith("region functions, ")]


# -- limits of the system ----------------------------------------------------------------------


def full_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def no_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), hard))
    with contextlib.suppress(OSError):
        while True:
            os.dup(0)


@pytest.mark.parametrize("limit", [full_disk, no_files])
def test_a_refusal_of_the_system_is_not_the_callers_failure(
    file_manager: Manager, caplog: pytest.LogCaptureFixture, limit: Any
) -> None:
    cache = file_manager()
    caplog.set_level(logging.WARNING, "beaker_regions")

    @cache.region("functions")
    def load(number: int) -> bytes:
        return b"%d" % number * 10_000

    def use() -> None:
        limit()
        for number in range(10):
            assert load(number) == load(number) == b"%d" % number * 10_000
            assert load.refresh(number) == b"%d" % number * 10_000
            load.invalidate(number)
        counts = cache["functions"].stats.snapshot()
        failed = [event for event in counts if event.startswith("failed.")]
        assert failed
        assert len(lines_of(caplog)) == len(failed), "one line a kind"

    load(1)
    assert statuses([fork(use)]) == [0]
    assert load(1) == load(1) == b"1" * 10_000
    assert not [event for event in cache["functions"].stats.snapshot() if "failed" in event]


@pytest.mark.parametrize("limit", [full_disk, no_files])
@pytest.mark.parametrize("way", ["entry", "function", "tag", "region"])
def test_an_invalidation_holds_for_all_even_if_it_cannot_be_written(
    cache: CacheManager, calls: Calls, way: str, limit: Any
) -> None:
    @cache.region("functions", tags=["tag"])
    def load() -> int:
        return calls()

    def invalidate() -> None:
        limit()
        ways: dict[str, Any] = {
            "entry": load.invalidate,
            "function": load.invalidate_all,
            "tag": lambda: cache.invalidate_tags("tag"),
            "region": lambda: cache.invalidate_region("functions"),
        }
        ways[way]()

    assert (load(), load()) == (1, 1)
    assert statuses([fork(invalidate)]) == [0]
    assert (load(), load()) == (2, 2)


# -- many processes, and their ends -------------------------------------------------------------


def sealed(size: int) -> bytes:
    """Bytes that begin with the digest of the rest."""
    rest = random.randbytes(size)
    return hashlib.sha256(rest).digest() + rest


def is_whole(value: bytes) -> bool:
    return hashlib.sha256(value[32:]).digest() == value[:32]


def functions(folder: Path) -> tuple[Any, Any]:
    cache = make_manager(type="file", data_dir=folder, secret="of the tests")

    @cache.region("functions")
    def value(number: int) -> bytes:
        return sealed(random.randrange(300_000))

    @cache.region("functions")
    def stream(number: int) -> Iterator[bytes]:
        whole = sealed(random.randrange(300_000))
        return iter([whole[at : at + 10_000] for at in range(0, len(whole), 10_000)])

    return value, stream


def write_for_ever(folder: Path, ready: Any) -> None:
    value, stream = functions(folder)
    while True:
        value.refresh(1)
        stream.refresh(1)
        ready.set()


def test_after_a_kill_at_any_instant_an_entry_is_whole_or_absent(folder: Path) -> None:
    value, stream = functions(folder)
    found = 0
    for _ in range(15):
        ready = processes.Event()
        writer = processes.Process(target=write_for_ever, args=(folder, ready))
        writer.start()
        assert ready.wait(60)
        time.sleep(random.uniform(0, 0.02))
        writer.kill()
        writer.join()
        whole, file = value.peek(1), stream.peek(1)
        if whole is not None:
            assert is_whole(whole)
        if file is not None:
            assert is_whole(file.read_bytes())
            assert hashlib.sha256(file.read_bytes()).hexdigest() == file.digest
        found += (whole is not None) + (file is not None)
        assert is_whole(value(1))
        assert is_whole(stream(1).read_bytes())
    assert found > 0


def use_at_random(folder: Path, seconds: float) -> None:
    value, stream = functions(folder)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        number = random.randrange(3)
        assert is_whole(value(number))
        with contextlib.closing(stream(number)) as file:
            assert is_whole(file.read_bytes())
        match random.randrange(8):
            case 0:
                value.refresh(number)
            case 1:
                stream.refresh(number)
            case 2:
                stream.invalidate(number)
            case 3:
                value.invalidate_all()


def test_processes_that_write_read_and_invalidate_at_once(folder: Path) -> None:
    users = [processes.Process(target=use_at_random, args=(folder, 1.0)) for _ in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert [user.exitcode for user in users] == [0] * 4


def test_an_invalidation_of_many_tags_ends_no_entry_without_tags(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    def load(number: int) -> int:
        calls()
        return number

    for number in range(300):
        load(number)
    cache.invalidate_tags(*[f"tag {number}" for number in range(30_000)])
    assert load.many(range(300)) == list(range(300))
    assert calls.count == 300
