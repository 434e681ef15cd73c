"""A files region that has a limit."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions.reports import health
from beaker_regions.stores.files import layout, maintenance
from beaker_regions.stores.files.store import FileStore
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import Calls, make_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beaker_regions import CacheManager
    from tests.beaker_regions.conftest import Later

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])

BLOCK = 4096
"""Bytes in which a disk gives room to files."""
LIMIT = 500 * BLOCK
"""Bytes."""


def limited(tmp_path: Path, **options: Any) -> CacheManager:
    own = {"size_limit": LIMIT, "durable": False, **options}
    return make_manager(type="file", data_dir=tmp_path, secret="of the tests", **own)


def store_of(cache: CacheManager) -> FileStore:
    store = cache["functions"].store
    assert isinstance(store, FileStore)
    return store


@pytest.mark.parametrize("size", [10_000, 200_000])
def test_the_limit_holds(tmp_path: Path, size: int) -> None:
    cache = limited(tmp_path)

    @cache.region("functions")
    def load(number: int) -> bytes:
        return os.urandom(size)

    @cache.region("functions")
    def stream(number: int) -> Iterator[bytes]:
        yield os.urandom(size)

    for number in range(2 * LIMIT // (size + 200)):
        assert len(load(number)) == size
        assert len(stream(number).read_bytes()) == size
    used = maintenance.usage(store_of(cache)).size
    assert used <= LIMIT, "never over it"
    assert used > LIMIT / 2, "and not emptied"


def test_recently_used_entries_stay(tmp_path: Path, calls: Calls) -> None:
    cache = limited(tmp_path)

    @cache.region("functions")
    def load(number: int) -> bytes:
        calls()
        return os.urandom(BLOCK - 200)

    for number in range(300):
        load(number)
    long_ago = time.time() - 3600
    for found in layout.stored(store_of(cache)):
        os.utime(found.path, (long_ago, long_ago))
    for number in range(100):
        load(number)  # used again
    assert calls.count == 300
    for number in range(1000, 1310):
        load(number)
    used = sum(load.peek(number) is not None for number in range(100))
    unused = sum(load.peek(number) is not None for number in range(100, 300))
    assert used > 85
    assert unused < 100


@pytest.mark.parametrize("way", ["expired", "invalidated"])
def test_expired_and_invalidated_entries_are_removed_first(
    tmp_path: Path, way: str, later: Later
) -> None:
    cache = limited(tmp_path)

    @cache.region("functions", expire=60 if way == "expired" else 3600)
    def over(number: int) -> bytes:
        return os.urandom(BLOCK - 200)

    @cache.region("functions", expire=3600)
    def valid(number: int) -> bytes:
        return os.urandom(BLOCK - 200)

    for number in range(200):
        valid(number)
    for number in range(240):
        over(number)
    if way == "expired":
        later(90)
    else:
        over.invalidate_all()
    for number in range(1000, 1080):
        valid(number)
    assert all(valid.peek(number) is not None for number in range(200))


def test_equal_content_counts_once(tmp_path: Path, calls: Calls) -> None:
    cache = limited(tmp_path)
    content = os.urandom(1_000_000)

    @cache.region("functions")
    def load(number: int) -> bytes:
        calls()
        return content

    for _ in range(2):
        for number in range(20):
            load(number)
    assert calls.count == 20, "nothing had to go"


def spoil(usage: Path) -> None:
    usage.write_bytes(b"\xff" * 6 + b"\0\0")


def flip(usage: Path) -> None:
    content = bytearray(usage.read_bytes())
    content[5] ^= 1
    usage.write_bytes(content)


def cut(usage: Path) -> None:
    os.truncate(usage, 3)


def misplace(usage: Path) -> None:
    """Put another file there, which is not to be written to."""
    usage.unlink()
    record = next(path for path in usage.with_name("entries").glob("*/*"))
    os.link(record, usage)


@pytest.mark.parametrize("damage", [spoil, flip, cut, misplace, Path.unlink])
def test_a_damaged_count_is_made_again(
    tmp_path: Path, damage: Callable[[Path], None], calls: Calls
) -> None:
    cache = limited(tmp_path)

    @cache.region("functions")
    def load(number: int) -> bytes:
        calls()
        return os.urandom(10_000)

    for number in range(50):
        load(number)
    usage = tmp_path / "functions" / "usage"
    before = usage.read_bytes()[:8]
    damage(usage)
    assert len(list(maintenance.verify(store_of(cache)))) == usage.exists()
    load(49)
    load(50)
    counted = int.from_bytes(usage.read_bytes()[:8], "little")
    assert counted == maintenance.usage(store_of(cache)).size > int.from_bytes(before, "little")
    assert all(load.peek(number) is not None for number in range(50))


@pytest.mark.parametrize("mend", ["a sweep", "a day"])
def test_a_count_that_is_wrong_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mend: str
) -> None:
    """As after many kills: what they had written, or removed, was not counted."""
    cache = limited(tmp_path)

    @cache.region("functions")
    def load(number: int) -> bytes:
        return os.urandom(10_000)

    for number in range(150):
        load(number)
    for found in list(layout.stored(store_of(cache)))[:100]:
        os.unlink(found.path)
    if mend == "a sweep":
        maintenance.sweep(store_of(cache))
    else:
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 25 * 3600)
    for number in range(1000, 1100):
        load(number)
    assert maintenance.usage(store_of(cache)).entries == 150, "there was room"


def churn(folder: Path, ready: Any) -> None:
    """Do everything at once, with contents that many entries share."""
    value, stream = shared(limited(folder))
    while True:
        number = random.randrange(30)
        function = random.choice([value, stream])
        match random.randrange(6):
            case 0 | 1:
                function.refresh(number)
            case 2:
                function.invalidate(number)
            case 3:
                value.invalidate_all()
            case _:
                function(number)
        ready.set()


def shared(cache: CacheManager) -> tuple[Any, Any]:
    def content() -> bytes:
        rest = random.Random(random.randrange(20)).randbytes(random.choice([70_000, 200_000]))
        return hashlib.sha256(rest).digest() + rest

    @cache.region("functions")
    def value(number: int) -> bytes:
        return content()

    @cache.region("functions")
    def stream(number: int) -> Iterator[bytes]:
        whole = content()
        # Small content is in its record.
        return iter([whole[:50_000], whole[50_000:]] if number % 3 else [whole[32:64]] * 9)

    return value, stream


def is_whole(content: bytes) -> bool:
    small = len(content) == 9 * 32 and content == content[:32] * 9
    return small or hashlib.sha256(content[32:]).digest() == content[:32]


def test_after_kills_at_any_instant_the_store_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = limited(tmp_path)
    store = store_of(cache)
    value, stream = shared(cache)
    found = 0
    for _ in range(8):
        ready = [processes.Event() for _ in range(3)]
        writers = [processes.Process(target=churn, args=(tmp_path, event)) for event in ready]
        for writer in writers:
            writer.start()
        assert all(event.wait(60) for event in ready)
        time.sleep(random.uniform(0, 0.05))
        for writer in writers:
            writer.kill()
        for writer in writers:
            writer.join()
        assert list(maintenance.verify(store)) == []
        for number in range(30):
            whole, file = value.peek(number), stream.peek(number)
            assert whole is None or is_whole(whole)
            assert file is None or is_whole(file.read_bytes())
            found += (whole is not None) + (file is not None)
    assert found > 0
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 2 * maintenance.LEFT_ALONE)
    maintenance.sweep(store)
    assert list((store.folder / "incoming").iterdir()) == []
    contents = [path for path in (store.folder / "content").rglob("*") if path.is_file()]
    needed = [
        each.content.name
        for each in layout.stored(store)
        if each.content and each.content.small is None
    ]
    assert sorted(path.name for path in contents) == sorted(needed)
    value.refresh(0)  # who stores next makes the room that the killed had not made yet
    assert layout.bytes_in_use(store) == maintenance.usage(store).size <= LIMIT


def test_processes_that_write_at_once_stay_below_it_together(tmp_path: Path) -> None:
    def write() -> None:
        cache = limited(tmp_path)

        @cache.region("functions")
        def load(number: int) -> bytes:
            return os.urandom(10_000)

        for number in range(100):
            assert len(load(os.getpid() * 1000 + number)) == 10_000
        assert not [event for event in cache["functions"].stats.snapshot() if "failed" in event]

    children = [fork(write) for _ in range(8)]
    assert statuses(children) == [0] * 8
    assert maintenance.usage(store_of(limited(tmp_path))).size <= LIMIT * 1.05


def test_a_region_on_files_has_a_limit_by_default(
    tmp_path: Path,
) -> None:
    where = {"type": "file", "data_dir": tmp_path, "secret": "of the tests"}
    limit = store_of(make_manager(**where)).size_limit
    assert limit is not None
    assert limit.bytes == 10 * 1024**3
    servers = {"url": "127.0.0.1:1"}
    assert store_of(make_manager(**where, cluster="servers", servers=servers)).size_limit
    for none in ("none", "None", None):
        assert store_of(make_manager(**where, size_limit=none)).size_limit is None


def test_check_says_the_limit_and_warns_when_it_is_nearly_reached(tmp_path: Path) -> None:
    cache = limited(tmp_path)

    @cache.region("functions")
    def load(number: int) -> bytes:
        return os.urandom(LIMIT // 20 - BLOCK)

    def said(cache: CacheManager) -> tuple[str, str]:
        found = health.check_here(cache["functions"])
        return next((each.level, each.message) for each in found if each.subject == "size_limit")

    assert said(cache) == ("ok", "0% of 2.0 MB is in use")
    for number in range(10):
        load(number)
    assert said(cache) == ("ok", "50% of 2.0 MB is in use")
    for number in range(19):
        load(number)
    level, message = said(cache)
    assert level == "warning"
    assert "95% of 2.0 MB is in use" in message
    assert said(limited(tmp_path, size_limit=None)) == (
        "ok",
        "not set: the region may fill the disk",
    )


@pytest.mark.parametrize("value", [0, -1, "much", True])
def test_a_wrong_limit_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match=r"size_limit = .*number of bytes"):
        make_manager(type="file", data_dir=tmp_path, secret="s", size_limit=value)


@pytest.mark.parametrize("what", ["stopped", "forked"])
def test_nobody_waits_for_a_process_that_has_the_count_and_does_not_go_on(
    tmp_path: Path, what: str
) -> None:
    """It was stopped while it counted; or a thread of it counted when it forked."""
    cache = limited(tmp_path)

    @cache.region("functions")
    def load(number: int) -> bytes:
        return b"%d" % number * 1000

    load(0)
    limit = store_of(cache).size_limit
    assert limit is not None
    held, tell = os.pipe()

    def stop() -> None:
        with limit._counted():
            os.write(tell, b"held")
            signal.pause()

    if what == "stopped":
        child = fork(stop)
        os.read(held, 4)
        os.kill(child, signal.SIGSTOP)
    else:
        with limit._counted():
            child = fork(signal.pause)
    try:
        began = time.monotonic()
        assert [load(number) for number in range(1, 4)] == [
            b"%d" % number * 1000 for number in range(1, 4)
        ]
        with contextlib.suppress(TimeoutError):
            limit.is_damaged()
        assert time.monotonic() - began < 30
        if what == "forked":
            assert not limit.is_damaged()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
