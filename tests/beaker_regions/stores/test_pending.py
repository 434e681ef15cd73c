"""Pending invalidations: every process of the host applies them, also after its writer ended."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import resource
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beaker_regions import StoreUnavailableError
from beaker_regions.entries.entry import region_scope, tag_scope
from beaker_regions.errors import ApplyingError
from beaker_regions.stores import pending
from beaker_regions.stores.pending import FOLDER, PersistentQueue, line_of
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import Calls, make_manager
from tests.waiting import stored_value, until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from beaker_regions.api.function import CachedFunction
    from tests.servers import Memcached


def read_only_by(
    address: str,
    folder: Path,
    calls: Calls,
    *,
    retry: float = 0.01,
    timeout: float = 5,
) -> CachedFunction[[], int]:
    """Return a cached function, as each process has it."""
    cache = make_manager(
        type="ext:memcached",
        url=address,
        data_dir=folder,
        secret="of the tests",
        timeout=timeout,
        retry=retry,
    )

    @cache.region("functions")
    def load() -> int:
        return calls()

    return load


def invalidate_in_vain(address: str, folder: Path) -> None:
    """Invalidate while the server hangs, and end."""
    read_only_by(address, folder, Calls(), timeout=0.2).invalidate()


def test_other_processes_apply_the_pending_invalidations_of_one_that_ended(
    own_memcached: Memcached, tmp_path: Path, calls: Calls
) -> None:
    load = read_only_by(own_memcached.address, tmp_path, calls)
    assert (load(), load()) == (1, 1)
    own_memcached.pause()
    process = multiprocessing.get_context("spawn").Process(
        target=invalidate_in_vain, args=(own_memcached.address, tmp_path)
    )
    process.start()
    process.join()
    own_memcached.resume()
    assert load() > 1
    # The server also carries out what the ended process sent while it was stopped.
    assert stored_value(load) > 1


A, B, C, D = sorted(map(tag_scope, "abcd"))
REGION = region_scope("functions")
LONG = 60.0
"""Seconds; longer than any test."""


class Server:
    """Takes invalidations, or not."""

    def __init__(self) -> None:
        self.up = True
        self.invalidated: list[str] = []

    def change(self, scopes: Iterable[str]) -> None:
        if not self.up:
            raise StoreUnavailableError("server", "away")
        self.invalidated += sorted(scopes)


@pytest.fixture
def server() -> Server:
    return Server()


def size_of(path: Path) -> int:
    """Return how many bytes a queue takes."""
    return sum(each.stat().st_size for each in path.iterdir())


def test_scopes_stay_pending_until_they_are_applied(tmp_path: Path, server: Server) -> None:
    one, other = (PersistentQueue(tmp_path / "folder" / "server") for _ in range(2))
    one.apply(server.change)
    one.keep([A, B])
    server.up = False
    with pytest.raises(StoreUnavailableError):
        other.apply(server.change)
    one.keep([B, C])
    server.up = True
    other.apply(server.change)
    assert server.invalidated == [A, B, C]
    one.apply(server.change)
    assert server.invalidated == [A, B, C], "once is enough"


def test_a_scope_that_is_pending_already_takes_no_more_room(tmp_path: Path, server: Server) -> None:
    one, other = (PersistentQueue(tmp_path / "server") for _ in range(2))
    one.keep([A, B])
    size = size_of(tmp_path / "server")
    server.up = False
    for _ in range(10):
        other.keep([B, A])
        with pytest.raises(StoreUnavailableError):
            one.apply(server.change)
    assert size_of(tmp_path / "server") == size
    server.up = True
    other.apply(server.change)
    one.keep([A])
    other.apply(server.change)
    assert server.invalidated == [A, B, A], "a scope that is kept again is applied again"


def test_a_scope_that_is_kept_while_it_is_applied_is_applied_again(
    tmp_path: Path, server: Server
) -> None:
    one, other = (PersistentQueue(tmp_path / "server") for _ in range(2))
    one.keep([A, B])

    def change(scopes: Iterable[str]) -> None:
        if not server.invalidated:
            other.keep([B])
        server.change(scopes)

    one.apply(change)
    assert server.invalidated == [A, B, B]


def test_while_one_process_applies_the_others_do_not_read(tmp_path: Path, server: Server) -> None:
    one, other = (PersistentQueue(tmp_path / "server") for _ in range(2))
    one.keep([A])

    def change(scopes: Iterable[str]) -> None:
        with pytest.raises(StoreUnavailableError):
            other.apply(server.change)
        server.change(scopes)

    one.apply(change)
    assert server.invalidated == [A]


def test_without_a_folder_the_process_itself_remembers(tmp_path: Path, server: Server) -> None:
    (tmp_path / "folder").touch()
    queue = PersistentQueue(tmp_path / "folder" / "server")
    queue.keep([A])
    queue.apply(server.change)
    assert server.invalidated == [A]


@pytest.mark.parametrize("content", [b"", line_of(B), b"damaged"])
def test_a_file_in_place_of_the_folder_is_applied_and_removed(
    tmp_path: Path, server: Server, content: bytes
) -> None:
    path = tmp_path / "server"
    path.write_bytes(content)
    queue = PersistentQueue(path)
    queue.cover(REGION)
    queue.keep([A])
    server.up = False
    with pytest.raises(StoreUnavailableError):
        queue.apply(server.change)
    server.up = True
    queue.apply(server.change)
    assert not path.exists()
    assert server.invalidated == [A, *{b"": [], line_of(B): [B], b"damaged": [REGION]}[content]]
    queue.keep([C])
    PersistentQueue(path).apply(server.change)
    assert server.invalidated[-1] == C, "the folder is used again"


def test_a_server_does_not_count_as_failing_while_another_process_applies(
    memcached: Memcached, tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "PATIENCE", LONG)
    load = read_only_by(memcached.address, tmp_path, calls, retry=600)
    assert (load(), load()) == (1, 1)
    path = tmp_path / FOLDER / quote(memcached.address, safe="")
    queue = PersistentQueue(path)
    queue.keep([A])
    with path.with_name(f"{path.name}.turn").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as that process does
        assert load() == 2
    queue.apply(lambda scopes: None)
    assert load() == 1, "the server was left alone"


def test_scopes_kept_while_others_apply_are_found_by_them(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "folder" / "server"
    scopes = [tag_scope(str(number)) for number in range(1500)]

    def keep() -> None:
        queue = PersistentQueue(path)
        for scope in scopes:
            queue.keep([scope])

    child = fork(keep)
    queue = PersistentQueue(path)
    while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        # The child may add scopes faster than they are applied: then apply gives up for now.
        with contextlib.suppress(ApplyingError):
            queue.apply(server.change)
    assert statuses([child]) == [0]
    queue.apply(server.change)
    assert set(scopes) <= set(server.invalidated), "a process that has ended took some with it"


def test_other_processes_apply_those_of_a_process_without_descriptors(
    memcached: Memcached, tmp_path: Path, calls: Calls
) -> None:
    load = read_only_by(memcached.address, tmp_path, calls)
    assert (load(), load()) == (1, 1)

    def invalidate() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        with contextlib.suppress(OSError):
            while True:
                os.dup(0)
        # Each thread has its own connection.
        thread = threading.Thread(target=load.invalidate)
        thread.start()
        thread.join()

    assert statuses([fork(invalidate)]) == [0]
    assert (load(), load()) == (2, 2)
    queues = (tmp_path / FOLDER).iterdir()
    assert [path for path in queues if path.is_dir()] == []


# -- damaged -----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"\xff\xfe\n", b"\0" * 4096, b"\0\n", b"e 1\r\n", b"t12"])
def test_a_damaged_queue_fails_no_call_and_no_value_that_it_may_have_named_is_served(
    memcached: Memcached,
    tmp_path: Path,
    calls: Calls,
    caplog: pytest.LogCaptureFixture,
    damage: bytes,
) -> None:
    load = read_only_by(memcached.address, tmp_path, calls)
    assert (load(), load()) == (1, 1)
    path = tmp_path / FOLDER / quote(memcached.address, safe="")
    PersistentQueue(path).keep([A])
    with (path / "open").open("ab") as file:
        file.write(damage)
    assert (load(), load()) == (2, 2)
    (said,) = [record.getMessage() for record in caplog.records if "was damaged" in record.message]
    assert str(path) in said


@given(st.sets(st.sampled_from([A, B, C])), st.data())
def test_the_whole_lines_of_a_damaged_queue_are_applied(
    kept: set[str], data: st.DataObject
) -> None:
    server = Server()
    with tempfile.TemporaryDirectory() as folder:
        queue = PersistentQueue(Path(folder) / "server")
        queue.cover(REGION)
        queue.keep(kept)
        file = Path(folder) / "server" / "open"
        content = file.read_bytes()
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, len(content)))
        content = content[:start] + data.draw(st.binary(max_size=200)) + content[end:]
        file.write_bytes(content)
        queue.keep([D])
        queue.apply(server.change)
        queue.apply(server.change)
    assert D in server.invalidated
    named = {line for line in content.split(b"\n") if line}
    whole = {scope for scope in (A, B, C) if line_of(scope) in named}
    assert whole <= set(server.invalidated)
    assert REGION in server.invalidated or named == set(map(line_of, whole))


# -- processes that end or stop -----------------------------------------------------------------


def test_a_child_forked_while_scopes_are_applied_keeps_no_lock(
    tmp_path: Path, server: Server
) -> None:
    one, other = (PersistentQueue(tmp_path / "server") for _ in range(2))
    one.keep([A])
    begun, proceed = threading.Event(), threading.Event()

    def change(scopes: Iterable[str]) -> None:
        begun.set()
        assert proceed.wait(LONG)
        server.change(scopes)

    thread = threading.Thread(target=one.apply, args=(change,))
    thread.start()
    assert begun.wait(LONG)
    child = fork(signal.pause)
    try:
        proceed.set()
        thread.join()
        started = time.monotonic()
        other.keep([B])
        other.apply(server.change)
        assert time.monotonic() - started < LONG
    finally:
        os.kill(child, signal.SIGKILL)
        statuses([child])
    assert server.invalidated == [A, B]


def test_a_child_forked_while_a_process_remembers_can_remember_too(
    tmp_path: Path, server: Server
) -> None:
    (tmp_path / "folder").touch()
    queue = PersistentQueue(tmp_path / "folder" / "server")
    taken, proceed = threading.Event(), threading.Event()

    def hold() -> None:
        with queue._lock:
            taken.set()
            assert proceed.wait(LONG)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(LONG)

    def keep() -> None:
        signal.alarm(int(LONG))
        queue.keep([A])
        queue.apply(server.change)
        assert server.invalidated == [A]

    child = fork(keep)
    proceed.set()
    thread.join()
    assert statuses([child]) == [0]


@pytest.mark.parametrize("what", ["stopped", "killed, with a child"])
def test_a_process_that_stops_while_it_applies_blocks_no_other(
    tmp_path: Path, server: Server, what: str
) -> None:
    path = tmp_path / "server"
    PersistentQueue(path).keep([A])
    reader, writer = os.pipe()

    def apply() -> None:
        def change(scopes: Iterable[str]) -> None:
            if what != "stopped":
                child = os.fork()
                if not child:
                    signal.pause()
                os.write(writer, b"%d\n" % child)
            os.write(writer, b"begun\n")
            signal.pause()

        PersistentQueue(path).apply(change)

    child = fork(apply)
    with open(reader, "rb") as lines:
        first = lines.readline()
        grandchild = 0 if what == "stopped" else int(first)
        if grandchild:
            lines.readline()
        os.kill(child, signal.SIGKILL if grandchild else signal.SIGSTOP)
        try:
            other = PersistentQueue(path)
            other.keep([B])

            def is_applied() -> bool:
                with contextlib.suppress(StoreUnavailableError):
                    other.apply(server.change)
                    return True
                return False

            until(is_applied)
            assert server.invalidated == [A, B]
        finally:
            if grandchild:
                os.kill(grandchild, signal.SIGKILL)
            else:
                os.kill(child, signal.SIGKILL)
            statuses([child])
    os.close(writer)
