"""What could not be invalidated: owed by every process of the host, and past their end."""

from __future__ import annotations

import fcntl
import multiprocessing
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from regions import StoreUnavailable
from regions.undelivered import Journal
from tests.regions.conftest import Calls, make_manager

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from regions.function import CachedFunction
    from tests.servers import Memcached


def read_only_by(
    address: str, folder: Path, calls: Calls, retry: float = 0.01
) -> CachedFunction[[], int]:
    """Return a cached function, as each process has it."""
    cache = make_manager(
        type="ext:memcached",
        url=address,
        data_dir=folder,
        secret="of the tests",
        timeout=0.2,
        retry=retry,
    )

    @cache.region("functions")
    def load() -> int:
        return calls()

    return load


def invalidate_in_vain(address: str, folder: Path) -> None:
    """Invalidate while the server hangs, and end."""
    read_only_by(address, folder, Calls()).invalidate()


def test_a_process_that_ended_leaves_what_it_owes_to_the_others(
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
    assert load() == 2
    assert load() == 2


class Server:
    """Takes invalidations, or not."""

    def __init__(self) -> None:
        self.up = True
        self.invalidated: list[str] = []

    def change(self, scopes: Iterable[str]) -> None:
        if not self.up:
            raise StoreUnavailable("server", "away")
        self.invalidated += sorted(scopes)


@pytest.fixture
def server() -> Server:
    return Server()


def test_what_is_owed_stays_owed_until_it_is_delivered(tmp_path: Path, server: Server) -> None:
    one, other = (Journal(tmp_path / "folder" / "server") for _ in range(2))
    one.deliver(server.change)
    one.keep(["ta", "tb"])
    server.up = False
    with pytest.raises(StoreUnavailable):
        other.deliver(server.change)
    one.keep(["tb", "tc"])
    server.up = True
    other.deliver(server.change)
    assert server.invalidated == ["ta", "tb", "tc"]
    one.deliver(server.change)
    assert server.invalidated == ["ta", "tb", "tc"], "once is enough"


def test_what_is_owed_already_takes_no_more_room(tmp_path: Path, server: Server) -> None:
    one, other = (Journal(tmp_path / "server") for _ in range(2))
    one.keep(["ta", "tb"])
    size = (tmp_path / "server").stat().st_size
    for _ in range(10):
        other.keep(["tb", "ta"])
    assert (tmp_path / "server").stat().st_size == size
    other.deliver(server.change)
    one.keep(["ta"])
    other.deliver(server.change)
    assert server.invalidated == ["ta", "tb", "ta"], "what is owed anew is delivered anew"


def test_a_line_that_was_begun_spoils_no_other(tmp_path: Path, server: Server) -> None:
    journal = Journal(tmp_path / "server")
    (tmp_path / "server").write_text("\nta\ntbegu")
    journal.keep(["tc"])
    journal.deliver(server.change)
    assert server.invalidated == ["ta", "tbegu", "tc"]


def test_while_one_process_delivers_the_others_do_not_read(tmp_path: Path, server: Server) -> None:
    one, other = (Journal(tmp_path / "server") for _ in range(2))
    one.keep(["ta"])

    def change(scopes: Iterable[str]) -> None:
        with pytest.raises(StoreUnavailable):
            other.deliver(server.change)
        server.change(scopes)

    one.deliver(change)
    assert server.invalidated == ["ta"]


def test_without_a_journal_the_process_itself_remembers(tmp_path: Path, server: Server) -> None:
    (tmp_path / "folder").touch()
    journal = Journal(tmp_path / "folder" / "server")
    journal.keep(["ta"])
    journal.deliver(server.change)
    assert server.invalidated == ["ta"]


def test_while_another_process_delivers_nobody_takes_the_server_for_failing(
    memcached: Memcached, tmp_path: Path, calls: Calls
) -> None:
    load = read_only_by(memcached.address, tmp_path, calls, retry=600)
    assert (load(), load()) == (1, 1)
    journal = tmp_path / "undelivered" / quote(memcached.address, safe="")
    Journal(journal).keep(["anything"])
    with journal.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as that process does
        assert load() == 2
        file.truncate(0)
    assert load() == 1, "the server was left alone"
