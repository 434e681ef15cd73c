"""Values that are synced together: whole or absent after kills and restarts, at every instant."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions import StoreUnavailableError
from beaker_regions.stores.files import content as content_files
from beaker_regions.stores.files import maintenance, together
from beaker_regions.stores.files.store import FileStore
from tests.beaker_regions.conftest import make_manager

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beaker_regions import CacheManager
    from beaker_regions.entries.entry import Entry

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])

NUMBERS = range(400)


def manager(folder: Path, **options: Any) -> CacheManager:
    return make_manager(type="file", data_dir=folder, secret="of the tests", **options)


def streamed(cache: CacheManager) -> Any:
    @cache.region("functions")
    def stream(number: int) -> Iterator[bytes]:
        content = content_of(number)
        yield content[:9]
        yield content[9:]

    return stream


def content_of(number: int) -> bytes:
    """Of even numbers it is small enough for the record."""
    return b"%d of the batch in two pieces" % number * (2000 if number % 2 else 1)


def store_of(cache: CacheManager) -> FileStore:
    store = cache["functions"].store
    assert isinstance(store, FileStore)
    return store


def record_of(cache: CacheManager, entry: Entry) -> Path:
    name = entry.address.hex()
    return store_of(cache).folder / "entries" / name[:2] / name[2:]


def fill_for_ever(folder: Path, ready: Any) -> None:
    cache = manager(folder)
    stream = streamed(cache)
    batch = cache["functions"].together()
    while True:
        for number in NUMBERS:
            with batch.joined():
                stream.fill(number)
            ready.set()
        batch.sync()
        stream.invalidate_all()


def test_after_a_kill_at_any_instant_each_value_is_whole_or_absent(tmp_path: Path) -> None:
    cache = manager(tmp_path)
    stream = streamed(cache)
    found = 0
    for _ in range(8):
        ready = processes.Event()
        writer = processes.Process(target=fill_for_ever, args=(tmp_path, ready))
        writer.start()
        assert ready.wait(60)
        time.sleep(random.uniform(0, 0.05))
        writer.kill()
        writer.join()
        for number in NUMBERS:
            file = stream.peek(number)
            if file is not None:
                found += 1
                assert file.read_bytes() == content_of(number)
                assert file.digest == hashlib.sha256(content_of(number)).hexdigest()
    assert found > 0
    assert list(maintenance.verify(store_of(cache))) == []
    assert stream(1).read_bytes() == content_of(1)


def test_one_sync_is_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = manager(tmp_path)
    stream = streamed(cache)
    stream(0)  # makes the table of generations, which is synced
    syncs: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _: syncs.append("one"))
    monkeypatch.setattr(together, "sync_file_system", lambda _: syncs.append("all"))
    batch = cache["functions"].together()
    with batch.joined():
        files = [stream.fill(number) for number in range(1, 10)]
    assert syncs == []
    batch.sync()
    assert syncs == ["all"]
    assert [file.read_bytes() for file in files] == list(map(content_of, range(1, 10)))
    assert [stream.peek(number).digest for number in range(1, 10)] == [f.digest for f in files]
    stream(11)
    assert syncs.count("one") >= 4, "what is stored by itself is synced by itself"


def test_large_content_is_synced_before_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = manager(tmp_path)

    @cache.region("functions")
    def large() -> Iterator[bytes]:
        return iter([bytes(1 << 20), b"more"])

    assert large.peek() is None  # makes the table of generations, which is synced
    syncs: list[int] = []
    monkeypatch.setattr(os, "fsync", syncs.append)
    with cache["functions"].together().joined():
        file = large.fill()
    assert len(syncs) >= 1
    assert file.read_bytes() == bytes(1 << 20) + b"more"


def test_after_a_restart_the_digest_shows_whether_content_has_reached_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = manager(tmp_path)
    stream = streamed(cache)
    with cache["functions"].together().joined():
        kept, lost = stream.fill(1), stream.fill(3)
        small, torn = stream.fill(2), stream.fill(4)
    monkeypatch.setattr(content_files, "this_run", lambda: b"another boot, 16")
    found = os.stat(lost.path)
    # As after a loss of power: the size and the time are right, the bytes are not.
    lost.path.write_bytes(bytes(found.st_size))
    os.utime(lost.path, ns=(found.st_atime_ns, found.st_mtime_ns))
    with open(record_of(cache, stream.entry(4)), "r+b") as file:
        file.seek(-len(torn.read_bytes()), os.SEEK_END)
        file.write(bytes(torn.size))
    assert stream.peek(1).path == kept.path
    assert stream.stored_digest(2) == stream.peek(2).digest == small.digest
    for number in (3, 4):
        assert stream.stored_digest(number) is None
        assert stream.peek(number) is None
        assert stream(number).read_bytes() == content_of(number)
    assert list(maintenance.verify(store_of(cache))) == []


def test_equal_content_is_stored_once(tmp_path: Path) -> None:
    cache = manager(tmp_path, size_limit=1 << 30)

    @cache.region("functions")
    def same(number: int) -> Iterator[bytes]:
        return iter([b"the same for all" * 10_000])

    batch = cache["functions"].together()
    with batch.joined():
        inodes = {os.stat(same.fill(number).path).st_ino for number in range(3)}
    batch.sync()
    assert len(inodes) == 1
    limit = store_of(cache).size_limit
    assert limit is not None
    assert limit.in_use() == limit.recount()


def test_a_disk_that_cannot_be_synced_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = manager(tmp_path)
    batch = cache["functions"].together()
    with batch.joined():
        streamed(cache).fill(1)

    def fail(_: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(together, "sync_file_system", fail)
    with pytest.raises(StoreUnavailableError, match="No space left"):
        batch.sync()
