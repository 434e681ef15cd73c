"""Entries as files on disks that fail: full, read-only, taken away."""

from __future__ import annotations

import logging
import random
import shutil
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions.stores.files import maintenance
from beaker_regions.stores.files.store import FileStore
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import make_manager
from tests.beaker_regions.mounts import Disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beaker_regions import CacheManager


class Rows:
    """Values that change, read through cached functions: small, large and streamed."""

    def __init__(self, cache: CacheManager) -> None:
        self.cache = cache
        self.loads = 0
        self._version: Counter[int] = Counter()

        @cache.region("functions")
        def small(number: int) -> tuple[int, int]:
            self.loads += 1
            return number, self._version[number]

        @cache.region("functions")
        def large(number: int) -> bytes:
            self.loads += 1
            return self._bytes(number)

        @cache.region("functions")
        def stream(number: int) -> Iterator[bytes]:
            self.loads += 1
            return iter([self._bytes(number), b"end"])

        self.functions: list[Any] = [small, large, stream]

    def _bytes(self, number: int) -> bytes:
        return b"%d,%d;" % (number, self._version[number]) * 30_000

    def check(self, number: int) -> None:
        small, large, stream = self.functions
        assert small(number) == (number, self._version[number])
        assert large(number) == self._bytes(number)
        assert stream(number).read_bytes() == self._bytes(number) + b"end"

    def change(self, number: int) -> None:
        self._version[number] += 1
        for function in self.functions:
            function.invalidate(number)

    def loads_of(self, use: Callable[[], object]) -> int:
        before = self.loads
        use()
        return self.loads - before

    def failed(self) -> set[str]:
        events = self.cache["functions"].stats.snapshot()
        return {event.removeprefix("failed.") for event in events if event.startswith("failed.")}


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return Rows(make_manager(type="file", data_dir=tmp_path / "regions", secret="of the tests"))


@pytest.fixture
def one_line_a_kind(caplog: pytest.LogCaptureFixture) -> Callable[[Rows], None]:
    caplog.set_level(logging.WARNING, "beaker_regions")

    def check(rows: Rows) -> None:
        lines = [record.getMessage() for record in caplog.records]
        kinds = [line.rpartition("(failed.")[2][:-1] for line in lines if "(failed." in line]
        assert sorted(kinds) == sorted(rows.failed())

    return check


def test_a_full_disk(rows: Rows, tmp_path: Path, one_line_a_kind: Callable[[Rows], None]) -> None:
    store = rows.cache["functions"].store
    assert isinstance(store, FileStore)

    def use() -> None:
        disk = Disk(tmp_path / "regions", 2_000_000)
        for number in range(10):
            rows.check(number)
        stored = sum(rows.functions[1].peek(number) is not None for number in range(10))
        assert 0 < stored < 10
        filler = disk.fill()
        for number in range(20):
            rows.check(number)
        for number in range(20):
            rows.change(number)
            rows.check(number)
        assert {"write", "invalidate"} <= rows.failed()
        one_line_a_kind(rows)
        assert list((store.folder / "incoming").iterdir()) == []
        maintenance.clear(store)
        filler.unlink()
        rows.check(0)
        assert rows.loads_of(lambda: rows.check(0)) == 0, "there is room again"

    assert statuses([fork(use)]) == [0]


def test_a_full_disk_takes_invalidations_and_keeps_the_other_entries(
    rows: Rows, tmp_path: Path
) -> None:
    def use() -> None:
        disk = Disk(tmp_path / "regions", 20_000_000)
        for number in range(10):
            rows.check(number)
        disk.fill()
        rows.cache.invalidate_tags(*(f"tag {number}" for number in range(50)))
        rows.change(0)
        assert rows.failed() == set()
        rows.check(0)
        loads = rows.loads
        for number in range(1, 10):
            rows.check(number)
        assert rows.loads == loads

    assert statuses([fork(use)]) == [0]


def test_a_disk_that_becomes_read_only(
    rows: Rows, tmp_path: Path, one_line_a_kind: Callable[[Rows], None]
) -> None:
    def use() -> None:
        disk = Disk(tmp_path / "regions", 20_000_000)
        assert statuses([fork(lambda: rows.check(0))]) == [0]
        disk.make_read_only()
        assert rows.loads_of(lambda: rows.check(0)) > 0, "who cannot invalidate does not read"
        rows.check(10)
        rows.change(0)
        rows.check(0)
        assert {"read", "invalidate"} <= rows.failed()
        one_line_a_kind(rows)
        disk.make_writable()
        rows.check(0)
        assert rows.loads_of(lambda: rows.check(0)) == 0, "it can be written again"

    assert statuses([fork(use)]) == [0]


def test_a_folder_that_is_removed_while_it_is_used(rows: Rows, tmp_path: Path) -> None:
    failures: list[BaseException] = []
    end = threading.Event()

    def use() -> None:
        try:
            while not end.is_set():
                rows.check(random.randrange(3))
                random.choice(rows.functions).refresh(random.randrange(3))
                random.choice(rows.functions).invalidate(random.randrange(3))
        except BaseException as error:
            failures.append(error)

    users = [threading.Thread(target=use) for _ in range(3)]
    for user in users:
        user.start()
    for _ in range(30):
        time.sleep(random.uniform(0, 0.03))
        shutil.rmtree(tmp_path / "regions" / "functions", ignore_errors=True)
    end.set()
    for user in users:
        user.join()
    assert not failures
    for number in range(3):
        rows.check(number)
    assert rows.loads_of(lambda: rows.check(0)) == 0


def test_content_can_be_read_where_open_files_have_no_names(tmp_path: Path) -> None:
    """Without /proc no descriptor can be opened again, nor can what another host has removed."""

    def go() -> None:
        Disk(Path("/proc"), 1 << 20)
        cache = make_manager(type="file", data_dir=tmp_path / "regions", secret="of the tests")
        for content in (b"", b"one\ntwo\n" * 50_000):

            @cache.region("functions", version=len(content))
            def load(content: bytes = content) -> Iterator[bytes]:
                return iter([content] if content else [])

            for found in (load(), load()):
                with found.open() as first, found.open() as second:
                    assert first.readlines() == content.splitlines(keepends=True)
                    assert (second.seek(4), second.read(3)) == (4, content[4:7])
                    assert second.seek(-len(content), 2) == second.tell() == 0
                assert found.read_bytes() == content

    assert statuses([fork(go)]) == [0]
