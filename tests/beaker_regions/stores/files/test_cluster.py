"""Files of several hosts: each with a folder of its own, or all with one; real processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions.reports import health
from beaker_regions.stores.files import maintenance
from beaker_regions.stores.files.store import FileStore
from tests.beaker_regions.conftest import Calls, Later, Manager
from tests.beaker_regions.engine.test_races import cluster_options, race
from tests.beaker_regions.hosts import Host, Truth
from tests.beaker_regions.stores.proxies import forward
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.beaker_regions.stores.proxies import Proxy
    from tests.servers import Memcached

Start = Callable[..., Host]
FOLDERS = {"own": ("one", "other"), "shared": ("one", "one")}


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    return Truth(tmp_path / "truth")


@pytest.fixture
def start(tmp_path: Path, truth: Truth) -> Iterator[Start]:
    """Start a process of the host whose files are in the named folder."""
    with contextlib.ExitStack() as running:

        def start(folder: str, server: Memcached | Proxy, **options: Any) -> Host:
            host = Host(tmp_path / folder, truth, server.address, **options)
            running.callback(host.kill)
            return host

        yield start


@pytest.fixture(params=FOLDERS)
def folders(request: pytest.FixtureRequest) -> tuple[str, str]:
    names: tuple[str, str] = FOLDERS[request.param]
    return names


def leases(server: Memcached) -> list[str]:
    keys = server.keys()
    return [key for key in keys if key.startswith("brg1:l")]


READS = (("number",), ("content", "stream"), ("content", "download"))


def test_no_host_serves_an_entry_that_another_has_invalidated(
    folders: tuple[str, str], start: Start, truth: Truth, memcached: Memcached
) -> None:
    here, there = (start(folder, memcached) for folder in folders)
    number = 0
    for way in ("entry", "function", "tag", "region", "refresh"):
        for host in (here, there):
            assert [host.do(*read) for read in READS] == [number] * 3
        number += 1
        truth.is_now(number)
        here.do(way)
        if way == "refresh":
            here.do("entry")  # of what refresh does not load
        assert [there.do(*read) for read in READS] == [number] * 3, way
        assert there.do("many")[0] == number
    loads = truth.loads
    assert [host.do(*read) for host in (here, there) for read in READS] == [number] * 6
    assert truth.loads <= loads + 3
    assert not here.do("failures")
    assert not there.do("failures")


def test_a_race_on_a_shared_folder(tmp_path: Path, memcached: Memcached) -> None:
    """With folders of their own hosts race in `tests.beaker_regions.engine.test_races`."""
    hosts = cluster_options(memcached, tmp_path) * 2
    reads, hits, stale = race(hosts, "tag", "entry")
    assert hits, "nothing was kept"
    assert stale == 0, f"of {reads}"


def test_a_race_while_a_server_restarts(tmp_path: Path, own_memcached: Memcached) -> None:
    retry = 0.2
    hosts = cluster_options(own_memcached, tmp_path / "one", tmp_path / "other", retry=retry)

    def restart() -> None:
        time.sleep(2 * retry)  # so that it is used, and not only left alone
        own_memcached.restart()

    reads, hits, stale = race(hosts, "entry", "tag", writes=60, disturb=restart)
    assert hits, "nothing was kept"
    assert stale == 0, f"of {reads}"


@pytest.mark.parametrize("read", [("number", 0.3), ("content", "stream", 0.02)])
def test_simultaneous_calls_load_once_for_a_folder(
    folders: tuple[str, str], start: Start, truth: Truth, memcached: Memcached, read: Any
) -> None:
    callers = [start(folder, memcached) for folder in folders * 3]
    for caller in callers:
        caller.do("failures")  # it is up
    for caller in callers:
        caller.begin(*read)
    assert [caller.end() for caller in callers] == [0] * 6
    assert truth.loads == len(set(folders))


@pytest.mark.parametrize("way", ["stream", "download"])
def test_a_lease_lasts_as_long_as_content_arrives(
    start: Start, truth: Truth, memcached: Memcached, way: str
) -> None:
    """A lease of memcached that is not renewed runs out within five seconds here."""
    callers = [start("one", memcached, lease=4) for _ in range(3)]
    for caller in callers:
        caller.begin("content", way, 0.25)
    assert [caller.end() for caller in callers] == [0] * 3
    assert truth.loads == 1
    assert not leases(memcached), "it was given back"


def test_a_host_with_a_folder_of_its_own_waits_for_no_other(
    start: Start, truth: Truth, memcached: Memcached, tmp_path: Path
) -> None:
    """Nor does one whose folder began as a copy, as those of hosts made from one image do."""
    here = start("one", memcached, lease=600)
    here.do("number")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    there = start("other", memcached, lease=600)
    here.begin("number", 0.5)
    while not leases(memcached):
        pass
    here.pause()
    assert there.do("number", 0.5) == 0
    here.resume()
    assert here.end() == 0


def test_a_server_that_hangs_during_a_load_loses_nothing(
    start: Start, truth: Truth, own_memcached: Memcached
) -> None:
    host = start("one", own_memcached, timeout=1, retry=0.01)
    host.begin("content", "stream", 0.02)
    while not truth.loads:
        pass
    own_memcached.pause()
    assert host.end() == 0
    own_memcached.resume()
    until(lambda: host.do("is stored", "stream", 0.02))
    assert truth.loads == 1


def test_another_caller_loads_if_the_loader_is_killed_while_content_arrives(
    start: Start, truth: Truth, memcached: Memcached
) -> None:
    killed, other = (start("one", memcached, lease=0.5) for _ in range(2))
    killed.begin("content", "stream", 0.1)
    while not truth.loads:
        pass
    other.begin("content", "stream", 0.1)
    killed.kill()
    assert other.end() == 0
    assert truth.loads == 2


FAILURES: dict[str, tuple[Callable[[Memcached], None], Callable[[Memcached], None]]] = {
    "killed": (lambda server: server.kill(), lambda server: server.start()),
    "hung": (lambda server: server.pause(), lambda server: server.resume()),
}
"""How a failure begins, and how it ends."""


@pytest.mark.parametrize("failure", FAILURES)
def test_without_a_server_functions_run_and_nothing_old_is_served(
    folders: tuple[str, str],
    start: Start,
    truth: Truth,
    own_memcached: Memcached,
    failure: str,
) -> None:
    here, there = (start(folder, own_memcached, timeout=0.2, retry=0.01) for folder in folders)
    for host in (here, there):
        assert [host.do(*read) for read in READS] == [0] * 3
    fail, heal = FAILURES[failure]
    fail(own_memcached)
    loads = truth.loads
    for host in (here, there):
        assert [host.do(*read) for read in READS] == [0] * 3
        assert host.do("failures")
    assert truth.loads == loads + 6, "nothing can be said of what is stored"
    truth.is_now(1)
    here.do("tag")
    assert [host.do(*read) for host in (here, there) for read in READS] == [1] * 6
    heal(own_memcached)

    def is_stored() -> bool:
        loads = truth.loads
        assert [host.do(*read) for host in (here, there) for read in READS] == [1] * 6
        return truth.loads == loads

    until(is_stored, "it is not stored again")


def test_a_host_applies_its_pending_invalidations_before_it_reads(
    start: Start, truth: Truth, memcached: Memcached, proxy: Proxy, tmp_path: Path
) -> None:
    cut_off = start("one", proxy, data_dir=tmp_path / "journal")
    other = start("other", memcached)
    assert (cut_off.do("number"), other.do("number")) == (0, 0)
    proxy.answer = lambda request: b""
    truth.is_now(1)
    cut_off.do("entry")
    cut_off.kill()
    proxy.answer = forward
    assert start("one", proxy, data_dir=tmp_path / "journal").do("number") == 1
    assert other.do("number") == 1


def test_a_server_that_forgot_everything_costs_one_load_a_folder(
    folders: tuple[str, str], start: Start, truth: Truth, own_memcached: Memcached
) -> None:
    hosts = [start(folder, own_memcached, retry=0.01) for folder in folders]
    for host in hosts:
        assert host.do("number") == 0
    truth.is_now(1)
    own_memcached.restart()
    for host in hosts:
        host.do("count")  # finds out that its connection ended
    loads = truth.loads
    for host in hosts * 2:
        assert host.do("number") == 1
    assert truth.loads == loads + len(set(folders))


def test_a_value_that_is_set_is_the_same_on_every_host(start: Start, memcached: Memcached) -> None:
    here, there = start("one", memcached), start("other", memcached)
    for value in ("first", "second", os.urandom(1_500_000)):
        for kind in ("value", "item"):
            here.do(f"set {kind}", value)
            assert (here.do(kind), there.do(kind)) == (value, value)
    assert [host.do("count") for host in (here, there, here)] == [1, 2, 3]


# -- one host ---------------------------------------------------------------------------------


def test_a_hit_is_one_request(file_manager: Manager, proxy: Proxy, calls: Calls) -> None:
    cache = file_manager(cluster="servers", servers={"url": proxy.address, "timeout": 5})

    @cache.region("functions", tags=["tag"])
    def load(number: int) -> bytes:
        return b"%d" % calls() * 100_000

    values = load.many([1, 2, 3])
    proxy.requests.clear()
    assert load(2) == values[1]
    assert load.many([1, 2, 3]) == values
    assert [request.split()[0] for request in proxy.requests] == ["get", "get"]


@pytest.mark.usefixtures("nothing_in_background")
def test_maintenance_removes_only_entries_without_generations_on_the_servers(
    file_manager: Manager, own_memcached: Memcached, calls: Calls
) -> None:
    servers = {"url": own_memcached.address, "retry": 0.01}
    cache = file_manager(cluster="servers", servers=servers)
    store = cache["functions"].store
    assert isinstance(store, FileStore)

    @cache.region("functions", tags=lambda number: [f"tag {each}" for each in range(100)])
    def load(number: int) -> bytes:
        return b"%d" % calls() * 100_000

    load.many([1, 2])
    load.invalidate(1)
    assert maintenance.sweep(store).entries == 1
    own_memcached.kill()
    assert maintenance.sweep(store).entries == 0, "they may be current"
    assert [*maintenance.verify(store)] == []
    own_memcached.start()
    # A server that has failed is left alone for a while.
    until(lambda: maintenance.sweep(store).entries == 1, "nobody can be served it")
    assert maintenance.usage(store) == (0, 0, None)


@pytest.mark.usefixtures("nothing_in_background")
def test_a_region_may_get_a_cluster_and_lose_it(
    file_manager: Manager, cluster_manager: Manager, calls: Calls
) -> None:
    for number, manager in enumerate((file_manager, cluster_manager, file_manager)):
        cache = manager()

        @cache.region("functions")
        def load(key: int) -> bytes:
            return b"%d" % calls() * 100_000

        loaded = [load(key) for key in (0, 0, 10 + number)]
        assert loaded[0] == loaded[1] == b"%d" % (2 * number + 1) * 100_000
        assert not [event for event in cache["functions"].stats.snapshot() if "failed" in event]
        store = cache["functions"].store
        assert isinstance(store, FileStore)
        assert [*maintenance.verify(store)] == []
        assert maintenance.sweep(store).entries == (1 if number else 0), "of the time before"


def test_values_from_before_the_region_was_on_files_are_served_until_they_expire(
    memcached_manager: Manager,
    cluster_manager: Manager,
    calls: Calls,
    later: Later,
) -> None:
    for manager in (memcached_manager, cluster_manager):

        @manager().region("functions", key=lambda: "one", expire=60, grace=600)
        def load() -> int:
            return calls()

        assert load() == 1
    later(60)
    assert [load(), load()] == [2, 2]


def test_both_its_folder_and_its_servers_are_checked(
    cluster_manager: Manager, memcached: Memcached, tmp_path: Path
) -> None:
    region = cluster_manager()["functions"]
    found = {finding.subject: finding.level for finding in health.check([region])[region]}
    assert {str(tmp_path / "regions"), memcached.address} <= found.keys()
    assert health.cluster_of(region) == "servers"
